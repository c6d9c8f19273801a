//! Sockets that were made elsewhere, and those that another process has handed over.

use std::{
    env,
    fs::File,
    io::{ErrorKind, Read},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net as unix,
    },
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    alone,
    common::{ANY, World},
};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use thence_reactor::net::{
    TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream, inherited,
};

#[test]
fn listeners_of_the_standard_library_accept_here() {
    let _alone = alone();
    thence_reactor::test(async {
        let listener = std::net::TcpListener::bind(ANY)?;
        let addr = listener.local_addr()?;
        // Somebody is there already.
        let mut client = std::net::TcpStream::connect(addr)?;
        let listener = TcpListener::from_std(listener)?;
        assert_eq!(listener.local_addr(), addr);
        let (stream, from) = listener.accept().await?;
        assert_eq!(from, client.local_addr()?);
        stream.write("hello").await?;
        let mut text = [0; 5];
        client.read_exact(&mut text)?;
        assert_eq!(&text, b"hello");

        let path = env::temp_dir().join(format!("thence-adopted-{}", std::process::id()));
        let listener = UnixListener::from_std(unix::UnixListener::bind(&path)?)?;
        let client = UnixStream::connect(path.as_path());
        let (stream, _) = listener.accept().await?;
        client.await?.write("unix").await?;
        assert_eq!(stream.read_exact(4).await?, "unix");
        drop(listener);
        assert!(path.exists(), "whoever made the file removes it");
        std::fs::remove_file(path)?;
        Ok(())
    });
}

#[test]
fn connections_of_the_standard_library_go_on_here() {
    let _alone = alone();
    thence_reactor::test(async {
        let (one, two) = unix::UnixStream::pair()?;
        let (one, two) = (UnixStream::from_std(one)?, UnixStream::from_std(two)?);
        one.write("x").await?;
        assert_eq!(two.read(10).await?, "x");

        let listener = TcpListener::bind(ANY)?;
        let client = std::net::TcpStream::connect(listener.local_addr())?;
        let client = TcpStream::from_std(client)?;
        let (stream, from) = listener.accept().await?;
        assert_eq!(client.local_addr()?, from);
        stream.write("y").await?;
        assert_eq!(client.read(10).await?, "y");

        let udp = UdpSocket::from_std(std::net::UdpSocket::bind(ANY)?)?;
        udp.send_to("z", udp.local_addr()?).await?;
        assert_eq!(udp.recv().await?, "z");

        let (one, two) = unix::UnixDatagram::pair()?;
        let (one, two) = (UnixDatagram::from_std(one)?, UnixDatagram::from_std(two)?);
        one.send("w").await?;
        assert_eq!(two.recv().await?, "w");
        Ok(())
    });
}

/// A socket as another type than it is.
fn disguised<T: From<OwnedFd>>(socket: impl Into<OwnedFd>) -> T {
    T::from(socket.into())
}

#[test]
fn what_is_no_such_socket_is_refused_with_a_reason() {
    let _alone = alone();
    thence_reactor::test(async {
        let tcp = || std::net::TcpListener::bind(ANY);
        let (pair, _other) = unix::UnixStream::pair()?;
        let dgram = unix::UnixDatagram::unbound()?;
        let listens = tcp()?;
        let connected = std::net::TcpStream::connect(listens.local_addr()?)?;
        let refused = [
            (TcpListener::from_std(disguised(connected)).err(), "does not listen"),
            (TcpStream::from_std(disguised(listens)).err(), "it listens"),
            (TcpListener::from_std(disguised(pair)).err(), "is a Unix socket"),
            (UnixListener::from_std(disguised(tcp()?)).err(), "of the internet"),
            (UnixStream::from_std(disguised(dgram)).err(), "no socket for streams"),
            (UdpSocket::from_std(disguised(tcp()?)).err(), "no socket for datagrams"),
        ];
        for (error, reason) in refused {
            let error = error.expect(reason);
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(reason), "{error}");
        }
        assert!(TcpListener::from_std(disguised(File::open("/dev/null")?)).is_err());
        Ok(())
    });
}

#[test]
fn a_driver_without_descriptors_says_so() {
    let _alone = alone();
    let _world = World::new();
    let listener = std::net::TcpListener::bind(ANY).unwrap();
    let error = TcpListener::from_std(listener).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// Starts this file's `child` in another process, with these sockets, for that process or another.
fn start(case: &str, sockets: Vec<OwnedFd>, pid: &str) -> Child {
    // Side by side, and open in the child.
    let handed: Vec<OwnedFd> = sockets
        .iter()
        .map(|socket| fcntl_dupfd_cloexec(socket, FIRST).unwrap())
        .inspect(|copy| fcntl_setfd(copy, FdFlags::empty()).unwrap())
        .collect();
    let first = handed.first().map_or(3, |fd| fd.as_raw_fd());
    for (place, fd) in handed.iter().enumerate() {
        assert_eq!(fd.as_raw_fd(), first + place as i32);
    }
    Command::new("sh")
        .args([
            "-c",
            &format!("LISTEN_PID={pid} exec \"$0\" --ignored --exact inherited::child --nocapture"),
        ])
        .arg(env::current_exe().unwrap())
        .env("THENCE_CASE", case)
        .env("LISTEN_FDS", handed.len().to_string())
        .env("LISTEN_FDS_FIRST_FD", first.to_string())
        .env("LISTEN_FDNAMES", "http:local:time:http:")
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_process_serves_on_the_sockets_it_was_handed() {
    let _alone = alone();
    let path = env::temp_dir().join(format!("thence-handed-{}", std::process::id()));
    let [tcp, second] = [(); 2].map(|()| std::net::TcpListener::bind(ANY).unwrap());
    let local = unix::UnixListener::bind(&path).unwrap();
    let time = std::net::UdpSocket::bind(ANY).unwrap();
    let (unlistening, _other) = unix::UnixStream::pair().unwrap();
    let [at, second_at] = [&tcp, &second].map(|listener| listener.local_addr().unwrap());
    let time_at = time.local_addr().unwrap();
    let sockets: Vec<OwnedFd> =
        vec![tcp.into(), local.into(), time.into(), second.into(), unlistening.into()];
    let mut child = start("serve", sockets, "$$");

    let limit = Some(Duration::from_secs(30));
    for addr in [at, second_at] {
        let mut client = std::net::TcpStream::connect(addr).unwrap();
        client.set_read_timeout(limit).unwrap();
        assert_eq!(answer(&mut client), addr.to_string());
    }
    let mut client = unix::UnixStream::connect(&path).unwrap();
    client.set_read_timeout(limit).unwrap();
    assert_eq!(answer(&mut client), path.display().to_string());
    let client = std::net::UdpSocket::bind(ANY).unwrap();
    client.set_read_timeout(limit).unwrap();
    client.send_to(b"when?", time_at).unwrap();
    let mut text = [0; 10];
    assert_eq!(client.recv(&mut text).unwrap(), 3);
    assert!(child.wait().unwrap().success());
    std::fs::remove_file(path).unwrap();
}

fn answer(client: &mut impl Read) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn sockets_for_another_process_are_not_taken() {
    let _alone = alone();
    let tcp = std::net::TcpListener::bind(ANY).unwrap();
    assert!(start("another", vec![tcp.into()], "1").wait().unwrap().success());
}

#[test]
fn without_sockets_it_says_what_to_do() {
    let _alone = alone();
    assert!(start("none", Vec::new(), "$$").wait().unwrap().success());
    thence_reactor::test(async {
        let sockets = inherited();
        assert!(sockets.is_empty());
        let error = sockets.tcp_listener("http").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let text = error.to_string();
        assert!(text.starts_with("socket `http` was not handed over"), "{text}");
        assert!(text.contains("LISTEN_FDS is not set") && text.contains("systemd"), "{text}");
        Ok(())
    });
}

#[test]
#[ignore = "it runs in a process of its own, which the tests above start"]
fn child() {
    match env::var("THENCE_CASE").expect("the tests above start this").as_str() {
        "another" => {
            let error =
                thence_reactor::test(async { Ok(inherited().tcp_listener(0).unwrap_err()) });
            let here = format!("is for process 1 (LISTEN_PID), and this is {}", std::process::id());
            assert!(error.to_string().contains(&here), "{error}");
        }
        "none" => {
            let error =
                thence_reactor::test(async { Ok(inherited().tcp_listener(0).unwrap_err()) });
            assert!(error.to_string().contains("(LISTEN_FDS=0)"), "{error}");
        }
        "serve" => serve(),
        other => panic!("there is no such case: {other}"),
    }
}

fn serve() {
    thence_reactor::test(async {
        let sockets = inherited();
        assert!(env::var_os("LISTEN_FDS").is_none() && env::var_os("LISTEN_PID").is_none());
        assert_eq!(sockets.len(), 5);
        let names: Vec<&str> = sockets.names().collect();
        assert_eq!(names, ["http", "local", "time", "http", "unknown"]);

        let missing = sockets.tcp_listener(5).unwrap_err().to_string();
        let there = "socket 5 was not handed over to this process; there are 0 (`http`), \
                     1 (`local`), 2 (`time`), 3 (`http`), 4 (`unknown`)";
        assert_eq!(missing, there);
        for unfit in [
            sockets.tcp_listener("local").err(),
            sockets.unix_listener("http").err(),
            sockets.udp_socket("http").err(),
            sockets.unix_datagram("time").err(),
            sockets.unix_listener(4).err(),
        ] {
            let error = unfit.expect("it is something else");
            assert!(error.to_string().contains("is unfit"), "{error}");
        }

        let http = [sockets.tcp_listener("http")?, inherited().tcp_listener("http")?];
        for which in ["http", "unknown"] {
            let taken = sockets.tcp_listener(which).unwrap_err();
            assert!(taken.to_string().contains("taken before"), "{taken}");
        }
        for listener in http {
            let (stream, _) = listener.accept().await?;
            stream.write(listener.local_addr().to_string()).await?;
        }
        let local = sockets.unix_listener("local")?;
        let (stream, _) = local.accept().await?;
        stream.write(local.local_addr().to_string()).await?;
        drop(stream);
        let time = sockets.udp_socket(2)?;
        let (asked, from) = time.recv_from().await?;
        assert_eq!(asked, "when?");
        time.send_to("now", from).await
    });
}

/// Far from what else is open.
const FIRST: i32 = 200;
