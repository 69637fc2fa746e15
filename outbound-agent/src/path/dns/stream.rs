//! Messages over TCP: each behind its length (RFC 1035 section 4.2.2, RFC 7766).

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::message::MAX_QUERY_BYTES;
use crate::model::reason::Reason;

/// The next message; `None` where the workload has no more. Fails with the reason to end the
/// connection for: it broke off, said nothing for `idle`, or claims more than any query needs.
pub async fn read<R>(stream: &mut R, idle: Duration) -> Result<Option<Vec<u8>>, Reason>
where
    R: AsyncRead + Unpin,
{
    let message = async {
        let mut length = [0; 2];
        if stream.read(&mut length[..1]).await.map_err(broken)? == 0 {
            return Ok(None);
        }
        stream.read_exact(&mut length[1..]).await.map_err(broken)?;
        let length = usize::from(u16::from_be_bytes(length));
        if length > MAX_QUERY_BYTES {
            return Err(Reason::Malformed);
        }
        let mut message = vec![0; length];
        stream.read_exact(&mut message).await.map_err(broken)?;
        Ok(Some(message))
    };
    timeout(idle, message)
        .await
        .unwrap_or(Err(Reason::DnsIdleTimeout))
}

/// Sends a message; `message` is at most 65535 octets long.
pub async fn write<W>(stream: &mut W, message: &[u8], idle: Duration) -> Result<(), Reason>
where
    W: AsyncWrite + Unpin,
{
    let length = u16::try_from(message.len()).map_err(|_long| Reason::Internal)?;
    let framed = [&length.to_be_bytes(), message].concat();
    timeout(idle, stream.write_all(&framed))
        .await
        .map_err(|_elapsed| Reason::DnsIdleTimeout)?
        .map_err(broken)
}

fn broken(_error: std::io::Error) -> Reason {
    Reason::DownstreamAborted
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn messages_come_one_by_one_and_end() {
        let (mut workload, mut agent) = duplex(64);
        workload.write_all(b"\0\x03one\0\0\0\x03two").await.unwrap();
        workload.shutdown().await.unwrap();
        for expected in ["one", "", "two"] {
            let message = read(&mut agent, LONG).await.unwrap().unwrap();
            assert_eq!(message, expected.as_bytes());
        }
        assert_eq!(read(&mut agent, LONG).await, Ok(None));
        write(&mut agent, b"answer", LONG).await.unwrap();
        let mut answer = [0; 8];
        workload.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"\0\x06answer");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_message_ends_the_connection() {
        for (bytes, reason) in [
            (&b"\0"[..], Reason::DownstreamAborted),
            (b"\0\x05four", Reason::DownstreamAborted),
            (b"\xff\xff", Reason::Malformed),
        ] {
            let (mut workload, mut agent) = duplex(64);
            workload.write_all(bytes).await.unwrap();
            workload.shutdown().await.unwrap();
            assert_eq!(read(&mut agent, LONG).await, Err(reason), "{bytes:?}");
        }
        let (_silent, mut agent) = duplex(64);
        assert_eq!(read(&mut agent, LONG).await, Err(Reason::DnsIdleTimeout));
    }
}
