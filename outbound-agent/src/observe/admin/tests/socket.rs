//! The socket's file.

use super::*;

#[tokio::test]
async fn what_a_dead_agent_left_is_replaced() {
    let bench = bench();
    let path = bench.socket();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let socket = AdminSocket::bind(&path, "no-such-group").unwrap();
    assert!(UnixStream::connect(socket.path()).await.is_ok());
}

#[tokio::test]
async fn a_living_agent_is_left_alone() {
    let bench = bench();
    let first = AdminSocket::bind(&bench.socket(), "no-such-group").unwrap();
    let second = AdminSocket::bind(&bench.socket(), "no-such-group");
    assert!(
        matches!(second, Err(Error::AnotherAgent { .. })),
        "{second:?}"
    );
    assert!(UnixStream::connect(first.path()).await.is_ok());
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_not_removed() {
    let bench = bench();
    let path = bench.directory.path().join("precious");
    fs::write(&path, "data").unwrap();
    let refused = AdminSocket::bind(&path, "no-such-group");
    assert!(
        matches!(refused, Err(Error::NotASocket { .. })),
        "{refused:?}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
}

#[tokio::test]
async fn a_socket_that_replaced_ours_survives_our_end() {
    let bench = bench();
    let path = bench.socket();
    let first = AdminSocket::bind(&path, "no-such-group").unwrap();
    fs::rename(&path, path.with_extension("old")).unwrap();
    let _second = AdminSocket::bind(&path, "no-such-group").unwrap();
    drop(first);
    assert!(UnixStream::connect(Path::new(&path)).await.is_ok());
}
