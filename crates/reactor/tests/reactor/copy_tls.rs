//! Frames and copies over TLS, which is a transport as any other.

use thence_core::{Failure, flow};
use thence_reactor::net::{
    Copied, TcpListener, TcpStream, UnixStream, copy_both,
    framing::{Framed, Lines},
    tls::{Certificates, Roots, TlsClient, TlsServer, TlsStream},
};

use crate::common::{ANY, ca::Ca};

const NAME: &str = "app.example";

/// Both ends of a TLS connection, the client's first.
async fn connected() -> Result<(TlsStream, TlsStream), Failure> {
    let ca = Ca::new("test");
    let pair = ca.issue(NAME);
    let server = TlsServer::new(&Certificates::from_pem(&pair.chain, &pair.key)?);
    let client = TlsClient::new(&Roots::from_pem(&ca.pem)?);
    let listener = TcpListener::bind(ANY)?;
    let connecting = TcpStream::connect(listener.local_addr());
    let (accepted, _) = listener.accept().await?;
    let accepting = server.accept(accepted);
    let near = client.connect(connecting.await?, NAME).await?;
    Ok((near, accepting.await?))
}

#[test]
fn a_proxy_takes_tls_off_and_each_way_ends_by_itself() {
    thence_reactor::test(async {
        let (near, far) = connected().await?;
        let (back, server) = UnixStream::pair()?;
        let proxy = copy_both(far, back);
        let echo = flow(async move {
            let lines = Framed::new(server, Lines::new());
            let mut all = Vec::new();
            while let Some(line) = lines.next().await? {
                all.push(line);
            }
            // The other way is open yet.
            lines.send(all.join(" and ")).await
        });
        let lines = Framed::new(near, Lines::new());
        lines.send("one").await?;
        lines.send("two").await?;
        lines.shutdown().await?;
        assert_eq!(lines.next().await?.as_deref(), Some("one and two"));
        assert_eq!(lines.next().await?, None);
        echo.await?;
        assert_eq!(proxy.await?, Copied { a_to_b: 8, b_to_a: 12 });
        Ok(())
    });
}

#[test]
fn a_client_that_breaks_off_is_a_break_and_no_end() {
    thence_reactor::test(async {
        let (near, far) = connected().await?;
        let (back, server) = UnixStream::pair()?;
        let proxy = copy_both(far, back);
        near.write("half a").await?;
        assert_eq!(server.read_exact(6).await?, "half a");
        // Without the notice that TLS ends with.
        near.abort();
        let failure = proxy.await.unwrap_err();
        assert!(failure.to_string().starts_with("cannot read from a, after 6 bytes"), "{failure}");
        Ok(())
    });
}
