//! The hosts file: one `host:port` per line and process; `#` begins a comment.

use std::path::Path;

use crate::error::{Error, Result};

/// Reads the addresses of `processes` processes.
pub fn read(path: &Path, processes: usize) -> Result<Vec<String>> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::config(format!("cannot read the hosts file '{name}'")).caused_by(error))?;
    parse(&name, &text, processes)
}

fn parse(name: &str, text: &str, processes: usize) -> Result<Vec<String>> {
    let mut hosts: Vec<String> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let host = line.split('#').next().unwrap_or_default().trim();
        if host.is_empty() {
            continue;
        }
        let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) || host.contains(char::is_whitespace) {
            let message = format!("{name}:{}: '{host}' is not host:port", index + 1);
            return Err(Error::config(message));
        }
        if hosts.iter().any(|known| known == host) {
            let message = format!("{name}:{}: {host} is there twice", index + 1);
            return Err(Error::config(message).hint("each process needs an address of its own"));
        }
        hosts.push(host.to_string());
    }
    if hosts.len() < processes {
        let message =
            format!("the hosts file '{name}' has {} addresses for {processes} processes", hosts.len());
        return Err(Error::config(message).hint("write one host:port per line and process"));
    }
    hosts.truncate(processes);
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blank_lines_are_skipped() {
        let text = "# ours\n\nlocalhost:2101  # first\n  [::1]:2102\nspare:1\n";
        assert_eq!(parse("hosts", text, 2).expect("hosts"), ["localhost:2101", "[::1]:2102"]);
    }

    #[test]
    fn mistakes_are_located() {
        let refused = |text: &str| parse("hosts", text, 2).expect_err("refused").to_string();
        assert!(refused("a:1\nb\n").starts_with("hosts:2: 'b' is not host:port"));
        assert!(refused("a:1\nb:0\n").starts_with("hosts:2: 'b:0' is not host:port"));
        assert!(refused("a:1\n\na:1\n").starts_with("hosts:3: a:1 is there twice"));
        assert!(refused("a:1\n").contains("has 1 addresses for 2 processes"));
        assert!(read(Path::new("nowhere"), 2).is_err());
    }
}
