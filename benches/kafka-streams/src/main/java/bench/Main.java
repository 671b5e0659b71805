package bench;

/** load, app or verify, each with its options. */
public final class Main {
    public static void main(String[] a) throws Exception {
        if (a.length == 0) { System.err.println("load|app|verify"); System.exit(2); }
        var m = Util.args(a, 1);
        switch (a[0]) {
            case "load" -> Load.run(m);
            case "app" -> App.run(m);
            case "verify" -> Verify.run(m);
            default -> throw new IllegalArgumentException(a[0]);
        }
    }
}
