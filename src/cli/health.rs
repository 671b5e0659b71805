//! `millstream health`: asks the worker of this machine, for containers without a shell.

use crate::{
    config::Config,
    fault::{Fault, Result},
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(2);

/// Asks `/health/live` at `http.listen`.
///
/// # Errors
/// When nobody answers, or the answer isn't 200.
pub fn ask(config: &Config) -> Result<()> {
    let listen = config.text("http.listen").unwrap_or_default();
    let bad = |what: String| Fault::stop(what).at(format!("http.listen={listen}"));
    let mut address: SocketAddr = listen
        .to_socket_addrs()
        .ok()
        .and_then(|mut all| all.next())
        .ok_or_else(|| bad("no address to ask".into()).hint("set `http.listen` as the worker has it"))?;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { [0, 0, 0, 0, 0, 0, 0, 1].into() });
    }
    let answer = get(address).map_err(|e| {
        bad(format!("the worker doesn't answer: {e}")).hint("does it run, with the same `http.listen`?")
    })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.split(' ').nth(1) == Some("200") {
        return Ok(());
    }
    Err(bad(format!("the worker is not alive: {}", if body.is_empty() { head } else { body }.trim())))
}

fn get(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // One write: a server may answer and close as soon as it has seen the first piece.
    let request = format!("GET /health/live HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(64 << 10).read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a server beside the test")]
mod tests {
    use super::*;
    use std::{net::TcpListener, thread};

    fn answered(answer: &'static str) -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut piece = [0; 1024];
                let read = stream.read(&mut piece).unwrap();
                request.extend_from_slice(&piece[..read]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let config = Config::load(&[("http.listen".into(), listen)], [], None).unwrap();
        let result = ask(&config);
        server.join().unwrap();
        result
    }

    #[test]
    fn only_200_is_alive() {
        answered("HTTP/1.1 200 OK\r\n\r\nok").unwrap();
        let fault = answered("HTTP/1.1 503 Service Unavailable\r\n\r\nthread 0 is silent\n").unwrap_err();
        assert!(fault.to_string().contains("thread 0 is silent"), "{fault}");
    }

    #[test]
    fn nobody_answers() {
        let config = Config::load(&[("http.listen".into(), "127.0.0.1:1".into())], [], None).unwrap();
        assert!(ask(&config).unwrap_err().to_string().contains("doesn't answer"));
    }
}
