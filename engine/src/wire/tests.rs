use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::protocol::ProtocolError;

const CAP: usize = 1024 * 1024;

fn outbox_with(payloads: &[Vec<u8>]) -> Outbox {
    let mut outbox = Outbox::new(CAP);
    for (index, payload) in payloads.iter().enumerate() {
        let parts: [&[u8]; 1] = [payload];
        let pieces: [&[&[u8]]; 1] = [&parts];
        outbox
            .push_pieces(&(index, payload.len()), payload.len(), pieces)
            .unwrap();
    }
    outbox
}

/// Takes every whole frame: its number and its payload.
fn take_all(inbox: &mut Inbox) -> Vec<(usize, Vec<u8>)> {
    let mut taken = Vec::new();
    while let Some(incoming) = inbox.next::<(usize, usize)>().unwrap() {
        let (index, len) = incoming.message;
        assert!(incoming.payload.as_ptr().addr().is_multiple_of(64));
        taken.push((index, incoming.payload[..len].to_vec()));
    }
    taken
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_arrive_in_order_and_whole_however_the_stream_is_cut(
        payloads in vec(vec(any::<u8>(), 0..3000), 1..12),
        cuts in vec(1usize..5000, 1..40),
    ) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut stream = Vec::new();
        let mut outbox = outbox_with(&payloads);
        prop_assert!(outbox.flush(&ours).unwrap());
        drop(ours);
        theirs.read_to_end(&mut stream).unwrap();

        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let mut inbox = Inbox::new(CAP).unwrap();
        let mut taken = Vec::new();
        let mut rest = stream.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            ours.write_all(now).unwrap();
            rest = later;
            while inbox.fill(&theirs).unwrap() != Filled::WouldBlock {}
            taken.extend(take_all(&mut inbox));
        }
        let expected: Vec<_> = payloads.into_iter().enumerate().collect();
        prop_assert_eq!(taken, expected);
        prop_assert!(inbox.is_empty());
    }
}

#[test]
fn what_the_socket_does_not_take_leaves_later_and_nothing_is_lost() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let payloads: Vec<Vec<u8>> = (0..40).map(|byte| vec![byte; 50_000]).collect();
    let mut outbox = outbox_with(&payloads);
    let mut inbox = Inbox::new(CAP).unwrap();
    let mut taken = Vec::new();
    let mut refusals = 0;
    while !outbox.flush(&ours).unwrap() {
        refusals += 1;
        while inbox.fill(&theirs).unwrap() != Filled::WouldBlock {
            taken.extend(take_all(&mut inbox));
        }
    }
    while inbox.fill(&theirs).unwrap() != Filled::WouldBlock {
        taken.extend(take_all(&mut inbox));
    }
    assert!(refusals > 0, "the socket took two megabytes at once");
    assert_eq!(taken, payloads.into_iter().enumerate().collect::<Vec<_>>());
}

#[test]
fn several_small_frames_arrive_with_one_call() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let payloads = vec![vec![7; 100]; 10];
    assert!(outbox_with(&payloads).flush(&ours).unwrap());
    let mut inbox = Inbox::new(CAP).unwrap();
    assert_eq!(
        inbox.fill(&theirs).unwrap(),
        Filled::Bytes { drained: true }
    );
    assert_eq!(take_all(&mut inbox).len(), 10);
}

#[test]
fn each_descriptor_arrives_with_its_own_frame() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut outbox = Outbox::new(CAP);
    let files: Vec<std::fs::File> = (0..3)
        .map(|index| {
            let mut file = tempfile::tempfile().unwrap();
            write!(file, "file {index}").unwrap();
            file
        })
        .collect();
    for (index, file) in files.iter().enumerate() {
        outbox.push(&(index, 0usize), None).unwrap();
        let descriptor = file.as_fd().try_clone_to_owned().unwrap();
        outbox.push(&(index, 1usize), Some(descriptor)).unwrap();
    }
    assert!(outbox.flush(&ours).unwrap());

    let mut inbox = Inbox::new(CAP).unwrap();
    let mut seen = 0;
    while inbox.fill(&theirs).unwrap() != Filled::WouldBlock {
        while let Some(incoming) = inbox.next::<(usize, usize)>().unwrap() {
            let (index, with_file) = incoming.message;
            if with_file == 1 {
                let descriptor: OwnedFd = incoming.descriptors.pop_front().unwrap();
                let mut text = String::new();
                let mut file = std::fs::File::from(descriptor);
                std::io::Seek::rewind(&mut file).unwrap();
                file.read_to_string(&mut text).unwrap();
                assert_eq!(text, format!("file {index}"));
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 3);
}

#[test]
fn a_flood_of_descriptors_is_an_error_and_not_a_leak() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut outbox = Outbox::new(CAP);
    for _ in 0..40 {
        let descriptor = ours.as_fd().try_clone_to_owned().unwrap();
        outbox.push(&(0usize, 0usize), Some(descriptor)).unwrap();
    }
    assert!(outbox.flush(&ours).unwrap());
    let mut inbox = Inbox::new(CAP).unwrap();
    let result = loop {
        match inbox.fill(&theirs) {
            Ok(Filled::Bytes { .. }) => {}
            result => break result,
        }
    };
    assert!(result.is_err(), "{result:?}");
}

#[test]
fn a_length_beyond_the_cap_allocates_nothing() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(&u32::MAX.to_le_bytes()).unwrap();
    let mut inbox = Inbox::new(CAP).unwrap();
    inbox.fill(&theirs).unwrap();
    // A second read makes room for the announced frame, or would.
    assert_eq!(inbox.fill(&theirs).unwrap(), Filled::WouldBlock);
    assert!(matches!(
        inbox.next::<(usize, usize)>(),
        Err(ProtocolError::Oversized { .. })
    ));
}

#[test]
fn a_frame_larger_than_the_buffer_arrives_whole() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let payloads = vec![vec![1; 10], vec![2; 900_000], vec![3; 10]];
    let writer = std::thread::spawn({
        let payloads = payloads.clone();
        move || {
            let mut outbox = outbox_with(&payloads);
            while !outbox.flush(&ours).unwrap() {
                let mut polled = [rustix::event::PollFd::new(
                    &ours,
                    rustix::event::PollFlags::OUT,
                )];
                rustix::event::poll(&mut polled, None).unwrap();
            }
        }
    });
    let mut inbox = Inbox::new(CAP).unwrap();
    let mut taken = Vec::new();
    while inbox.fill(&theirs).unwrap() != Filled::End {
        taken.extend(take_all(&mut inbox));
    }
    writer.join().unwrap();
    assert_eq!(taken, payloads.into_iter().enumerate().collect::<Vec<_>>());
}
