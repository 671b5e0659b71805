//! Reads Rust source just well enough: comments and literals out, test code out, paths flattened.

/// One file, with its path from the project's root (`src/state/store.rs`).
pub struct Source {
    pub path: String,
    pub text: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// The layer: the first name below `src/`.
    pub fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
    }

    /// Depth of the file's module below the crate's root: 1 for `src/state/mod.rs`, 2 for `src/state/store.rs`.
    fn depth(&self) -> usize {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path).trim_end_matches(".rs");
        inside.trim_end_matches("/mod").split('/').count()
    }

    /// Lines of the file.
    pub fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// True for a file that holds nothing but tests.
    pub fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// Every path that code outside tests names, as `(line from 1, segments)`. `use` trees are flattened; `super` is
    /// resolved to `crate` where it climbs to the root.
    pub fn paths(&self) -> Vec<(usize, Vec<String>)> {
        let tokens = without_tests(tokens(&self.text));
        let mut found = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            // `impl Trait + use<'a>` names lifetimes, not paths.
            if tokens[at].1 == "use" && tokens.get(at + 1).is_some_and(|t| t.1 != "<") {
                at = use_tree(&tokens, at + 1, &[], &mut found);
            } else if is_name(&tokens[at].1) && (at == 0 || tokens[at - 1].1 != "::") {
                let (line, mut path) = (tokens[at].0, vec![tokens[at].1.clone()]);
                while at + 2 < tokens.len() && tokens[at + 1].1 == "::" && is_name(&tokens[at + 2].1) {
                    path.push(tokens[at + 2].1.clone());
                    at += 2;
                }
                found.push((line, path));
                at += 1;
            } else {
                at += 1;
            }
        }
        for (_, path) in &mut found {
            let climbed = path.iter().take_while(|s| *s == "super").count();
            if climbed > 0 && climbed >= self.depth() {
                path.splice(..climbed, ["crate".to_owned()]);
            }
        }
        found
    }
}

type Token = (usize, String);

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::`, and single marks; comments, strings, characters and lifetimes are left out.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let (mut out, mut line, mut at) = (Vec::new(), 1, 0);
    while at < chars.len() {
        let rest = &chars[at..];
        let taken = match rest {
            ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => rest.windows(2).position(|w| w == ['*', '/']).map_or(rest.len(), |p| p + 2),
            ['r', '#', '"', ..] => {
                3 + rest[3..].windows(2).position(|w| w == ['"', '#']).map_or(rest.len() - 3, |p| p + 2)
            }
            ['"', ..] => string(rest),
            ['\'', '\\', ..] => 3 + rest[3..].iter().position(|c| *c == '\'').map_or(0, |p| p + 1),
            ['\'', _, '\'', ..] => 3,
            [':', ':', ..] => {
                out.push((line, "::".into()));
                2
            }
            [c, ..] if c.is_alphabetic() || *c == '_' => {
                let end = rest.iter().position(|c| !c.is_alphanumeric() && *c != '_').unwrap_or(rest.len());
                out.push((line, rest[..end].iter().collect()));
                end
            }
            [c, ..] => {
                if !c.is_whitespace() {
                    out.push((line, c.to_string()));
                }
                1
            }
            [] => 1,
        };
        let end = (at + taken).min(chars.len());
        line += chars[at..end].iter().filter(|c| **c == '\n').count();
        at = end;
    }
    out
}

/// Length of the string literal that `rest` starts with.
fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Drops each item that follows `#[cfg(test)]`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut out = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].len() < MARK.len() || tokens[at..].iter().zip(MARK).any(|(token, mark)| token.1 != mark) {
            out.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += MARK.len();
        let mut open = 0;
        while at < tokens.len() {
            let token = tokens[at].1.as_str();
            open += i32::from(token == "{") - i32::from(token == "}");
            at += 1;
            if open == 0 && (token == "}" || token == ";") {
                break;
            }
        }
    }
    out
}

/// Flattens a `use` tree from `at` on; returns the place after it.
fn use_tree(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<(usize, Vec<String>)>) -> usize {
    let mut path = prefix.to_vec();
    let line = tokens.get(at).map_or(0, |t| t.0);
    while let Some((_, token)) = tokens.get(at) {
        match token.as_str() {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|t| t.1 != "}") {
                    let next = use_tree(tokens, at, &path, found);
                    at = next.max(at + 1);
                    at = at.max(next + usize::from(tokens.get(next).is_some_and(|t| t.1 == ",")));
                }
                return at + 1;
            }
            "," | "}" | ";" => break,
            "as" => at += 1,
            "::" => {}
            name => path.push(name.to_owned()),
        }
        at += 1;
    }
    found.push((line, path));
    at
}
