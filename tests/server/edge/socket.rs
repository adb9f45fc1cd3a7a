//! What the server has set on the sockets of its clients: seen on the sockets themselves, by their
//! descriptors in the server.

use std::os::fd::OwnedFd;

use rustix::net::{getpeername, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::raw::Raw;
use crate::harness::{Server, Setup};

/// With Nagle's algorithm the end of a longer answer waits until the client has acknowledged what
/// came before, and a client puts that off for up to 40 ms.
#[test]
fn the_end_of_an_answer_is_not_held_back_on_either_port() {
    let server = Setup::new().start_ready();
    for port in [server.port, server.health_port] {
        let mut client = Raw::connect(port);
        client.get("/api/health/live");
        assert_eq!(client.answer().status, 200);
        let socket = server_end_of(&server, &client);
        assert!(sockopt::tcp_nodelay(socket).unwrap(), "port {port}");
    }
}

/// Returns the server's end of a client's connection.
fn server_end_of(server: &Server, client: &Raw) -> OwnedFd {
    let address = client.0.local_addr().unwrap();
    let pid = Pid::from_raw(server.pid().cast_signed()).unwrap();
    let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let folder = format!("/proc/{}/fd", server.pid());
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let mut descriptors = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    descriptors
        .find_map(|descriptor| {
            let copy = pidfd_getfd(&process, descriptor, PidfdGetfdFlags::empty()).ok()?;
            let peer = getpeername(&copy).ok()??;
            (std::net::SocketAddr::try_from(peer).ok()? == address).then_some(copy)
        })
        .expect("the connection that has just been answered is open")
}
