//! Asks a running node or gateway how it is: the other end of its status pages.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// No page is larger.
const MOST_BYTES: u64 = 64 << 20;

/// Where status pages are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// An address, with its port.
    Address(SocketAddr),
    /// A Unix socket.
    Socket(PathBuf),
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Socket(path) => path.display().fmt(f),
        }
    }
}

impl Door {
    /// The status code and the text of a page such as `/livez`.
    ///
    /// # Errors
    /// Nobody answers there within five seconds, or not as a web server does.
    pub fn ask(&self, page: &str) -> io::Result<(u16, String)> {
        match self {
            Self::Address(address) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                ask(stream, page)
            }
            Self::Socket(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                ask(stream, page)
            }
        }
    }
}

fn ask(mut stream: impl Read + Write, page: &str) -> io::Result<(u16, String)> {
    stream.write_all(format!("GET {page} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(MOST_BYTES).read_to_string(&mut answer)?;
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    match (code, answer.split_once("\r\n\r\n")) {
        (Some(code), Some((_, body))) => Ok((code, body.to_owned())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it does not answer as a web server does")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    fn answer(mut stream: impl Read + Write, text: &str) {
        let mut asked = [0; "GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n".len()];
        stream.read_exact(&mut asked).unwrap();
        assert!(asked.starts_with(b"GET /livez HTTP/1.0\r\n") && asked.ends_with(b"\r\n\r\n"));
        stream.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn a_page_is_fetched_through_either_door() {
        const TEXT: &str = "HTTP/1.0 503 Service Unavailable\r\ncontent-length: 5\r\n\r\nhangs";
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Door::Address(tcp.local_addr().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.sock");
        let unix = UnixListener::bind(&path).unwrap();
        let answering = thread::spawn(move || {
            answer(tcp.accept().unwrap().0, TEXT);
            answer(unix.accept().unwrap().0, TEXT);
            answer(tcp.accept().unwrap().0, "SSH-2.0-OpenSSH_9.2\r\n");
        });
        for door in [&address, &Door::Socket(path)] {
            assert_eq!(door.ask("/livez").unwrap(), (503, "hangs".to_owned()), "{door:?}");
        }
        assert_eq!(address.ask("/livez").unwrap_err().kind(), io::ErrorKind::InvalidData);
        answering.join().unwrap();
        assert!(Door::Socket(folder.path().join("none")).ask("/").is_err());
    }
}
