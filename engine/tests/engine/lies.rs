//! Workers that say what no worker should say: every lie is found out, and none does harm.

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;

use impetus_engine::link;
use impetus_engine::protocol::{
    Done, FromWorker, Place, ProtocolError, Run, SlotGrant, ToWorker, WireTensor, frame,
};
use impetus_engine::{Arena, DType, Limits, LinkError, Received, StackedInput};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use crate::support::{joined, within};

const CAP: usize = 1024 * 1024;
const SLOT: usize = 64 * 1024;

/// A worker that reads one run and writes whatever a test makes of it.
struct Liar {
    socket: UnixStream,
}

/// What a liar says: one frame's bytes, perhaps with a file.
struct Lie {
    bytes: Vec<u8>,
    file: Option<File>,
}

impl Liar {
    fn hear(&mut self) -> ToWorker {
        let mut block = vec![0; frame::MIN_FRAME];
        self.socket.read_exact(&mut block).unwrap();
        let len = frame::frame_len(&block, CAP).unwrap().unwrap();
        block.resize(len, 0);
        self.socket
            .read_exact(&mut block[frame::MIN_FRAME..])
            .unwrap();
        frame::decode(&block).unwrap().0
    }

    fn hear_run(&mut self) -> Run {
        loop {
            if let ToWorker::Run(run) = self.hear() {
                return run;
            }
        }
    }

    fn say(&mut self, lie: &Lie) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<_> = lie.file.iter().map(|file| file.as_fd()).collect();
        if !descriptors.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        let (first, rest) = lie.bytes.split_at(1);
        rustix::net::sendmsg(
            &self.socket,
            &[IoSlice::new(first)],
            &mut ancillary,
            SendFlags::empty(),
        )
        .unwrap();
        self.socket.write_all(rest).unwrap();
    }
}

impl Lie {
    fn message(message: &FromWorker, payload: &[u8]) -> Self {
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, CAP, message, payload.len(), |bytes| {
            bytes.extend_from_slice(payload);
        })
        .unwrap();
        Self { bytes, file: None }
    }

    fn with_file(mut self, file: File) -> Self {
        self.file = Some(file);
        self
    }
}

fn output(place: Place, len: usize) -> WireTensor {
    WireTensor {
        name: "y".into(),
        dtype: DType::U8,
        shape: vec![len],
        place,
        offset: 0,
        len,
    }
}

fn done(id: u64, outputs: Vec<WireTensor>) -> FromWorker {
    FromWorker::Done(Done {
        id,
        outputs,
        run_micros: 1,
    })
}

fn memory(bytes: u64, seals: SealFlags) -> File {
    let file = File::from(rustix::fs::memfd_create("lie", MemfdFlags::ALLOW_SEALING).unwrap());
    file.set_len(bytes).unwrap();
    rustix::fs::fcntl_add_seals(&file, seals).unwrap();
    file
}

fn size_seals() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL
}

/// Sends one run that owns a slot, lets the liar answer, and returns what the link makes of it.
async fn believe(lie: impl FnOnce(&Run) -> Lie + Send + 'static) -> Result<Received, LinkError> {
    let limits = Limits {
        inline_max: 1024,
        slot_bytes: SLOT,
        output_cap: 500_000,
        ..Limits::default()
    };
    let (ours, theirs) = UnixStream::pair().unwrap();
    let liar = thread::spawn(move || {
        let mut liar = Liar { socket: theirs };
        let run = liar.hear_run();
        liar.say(&lie(&run));
        // The connection outlives the lie, so a loss is no accident.
        let mut end = Vec::new();
        let _ = liar.socket.read_to_end(&mut end);
    });
    let (sender, mut receiver) = link::split(ours, Arena::new(&limits).unwrap(), limits).unwrap();
    sender.send(&ToWorker::hello(1)).await.unwrap();
    let data = vec![9; 2000];
    let stacked = StackedInput {
        name: "x",
        dtype: DType::U8,
        shape: &[2000],
        parts: &[&data],
    };
    sender.run(5, &[stacked]).await.unwrap();
    let result = within(receiver.next()).await;
    drop((sender, receiver));
    joined(liar).await;
    result
}

#[track_caller]
fn assert_found_out(result: Result<Received, LinkError>, expected: &str) {
    match result {
        Err(LinkError::Protocol(error)) => {
            let text = error.to_string();
            assert!(
                text.contains(expected),
                "{text:?} does not say {expected:?}"
            );
        }
        other => panic!("believed: {other:?}"),
    }
}

fn slot_of(run: &Run) -> SlotGrant {
    run.slot.expect("large inputs come with a slot")
}

#[tokio::test]
async fn the_truth_is_believed() {
    let result = believe(|run| {
        let outputs = vec![output(Place::Slot(slot_of(run)), 100)];
        Lie::message(&done(5, outputs), &[])
    });
    assert!(matches!(result.await, Ok(Received::Done { id: 5, .. })));
    let result = believe(|_| {
        Lie::message(&done(5, vec![output(Place::Attached, 100)]), &[])
            .with_file(memory(100, size_seals()))
    });
    assert!(matches!(result.await, Ok(Received::Done { id: 5, .. })));
}

#[tokio::test]
async fn an_answer_to_a_run_nobody_asked_for() {
    let result = believe(|_| Lie::message(&done(6, vec![]), &[]));
    assert_found_out(result.await, "run 6 is not in flight");
    let error = impetus_engine::EngineError::NotLoaded;
    let result = believe(|_| Lie::message(&FromWorker::RunFailed { id: 7, error }, &[]));
    assert_found_out(result.await, "run 7 is not in flight");
}

#[tokio::test]
async fn outputs_in_a_slot_that_was_not_lent() {
    for change in [
        |grant: &mut SlotGrant| grant.epoch -= 1,
        |grant: &mut SlotGrant| grant.index += 1,
        |grant: &mut SlotGrant| grant.index = usize::MAX,
    ] {
        let result = believe(move |run| {
            let mut grant = slot_of(run);
            change(&mut grant);
            Lie::message(&done(5, vec![output(Place::Slot(grant), 10)]), &[])
        });
        assert_found_out(result.await, "slot that is not lent");
    }
}

#[tokio::test]
async fn outputs_outside_their_slot() {
    for (offset, len) in [(SLOT - 64, 65), (SLOT, 1), (usize::MAX - 63, 64), (8, 8)] {
        let result = believe(move |run| {
            let outputs = vec![WireTensor {
                offset,
                ..output(Place::Slot(slot_of(run)), len)
            }];
            Lie::message(&done(5, outputs), &[])
        });
        assert_found_out(result.await, "lies outside its place");
    }
}

#[tokio::test]
async fn outputs_whose_length_is_not_that_of_their_type_and_shape() {
    for (dtype, shape) in [
        (DType::F32, vec![100]),
        (DType::U8, vec![99]),
        (DType::F64, vec![usize::MAX, 2]),
        (DType::F64, vec![usize::MAX / 8 + 1]),
    ] {
        for inline in [true, false] {
            let shape = shape.clone();
            let result = believe(move |run| {
                let place = if inline {
                    Place::Inline
                } else {
                    Place::Slot(slot_of(run))
                };
                let outputs = vec![WireTensor {
                    dtype,
                    shape,
                    ..output(place, 100)
                }];
                Lie::message(&done(5, outputs), &[0; 128])
            });
            assert_found_out(result.await, "lies outside its place");
        }
    }
}

#[tokio::test]
async fn outputs_beyond_their_frame() {
    let result = believe(|_| Lie::message(&done(5, vec![output(Place::Inline, 200)]), &[0; 128]));
    assert_found_out(result.await, "lies outside its place");
}

#[tokio::test]
async fn outputs_that_are_no_values_of_their_type() {
    let result = believe(|_| {
        let outputs = vec![WireTensor {
            dtype: DType::Bool,
            ..output(Place::Inline, 3)
        }];
        Lie::message(&done(5, outputs), &[0, 1, 2])
    });
    assert_found_out(result.await, "a bool is 0 or 1");
    let result = believe(|_| {
        let outputs = vec![WireTensor {
            dtype: DType::Bytes,
            shape: vec![usize::MAX],
            ..output(Place::Inline, 4)
        }];
        Lie::message(&done(5, outputs), &[0, 0, 0, 0])
    });
    assert_found_out(result.await, "malformed strings");
}

#[tokio::test]
async fn outputs_beyond_the_cap() {
    let result = believe(|_| {
        Lie::message(&done(5, vec![output(Place::Attached, 500_001)]), &[])
            .with_file(memory(600_000, size_seals()))
    });
    assert_found_out(result.await, "500001 bytes, at most 500000");
}

#[tokio::test]
async fn an_attached_file_that_is_missing_unsealed_too_small_or_none() {
    let attached = || done(5, vec![output(Place::Attached, 100)]);
    let result = believe(move |_| Lie::message(&attached(), &[]));
    assert_found_out(result.await, "a descriptor is missing");
    let result = believe(move |_| {
        Lie::message(&attached(), &[]).with_file(memory(100, SealFlags::GROW | SealFlags::SEAL))
    });
    assert_found_out(result.await, "no memory of a final size");
    let result =
        believe(move |_| Lie::message(&attached(), &[]).with_file(memory(99, size_seals())));
    assert_found_out(result.await, "lies outside its place");
    let result =
        believe(move |_| Lie::message(&attached(), &[]).with_file(tempfile::tempfile().unwrap()));
    assert_found_out(result.await, "no memory of a final size");
}

#[tokio::test]
async fn outputs_in_several_places() {
    let result = believe(|run| {
        let outputs = vec![
            output(Place::Slot(slot_of(run)), 10),
            output(Place::Inline, 10),
        ];
        Lie::message(&done(5, outputs), &[0; 10])
    });
    assert_found_out(result.await, "outputs in several places");
}

#[tokio::test]
async fn frames_that_are_none() {
    let bytes = |bytes: &[u8]| Lie {
        bytes: bytes.to_vec(),
        file: None,
    };
    let huge = u32::MAX.to_le_bytes();
    let result = believe(move |_| bytes(&huge));
    assert_found_out(result.await, "bytes, at most");
    let odd = 61u32.to_le_bytes();
    let result = believe(move |_| bytes(&odd));
    assert_found_out(result.await, "no whole number of blocks");
    let mut garbage = [0xff; 64];
    garbage[..4].copy_from_slice(&60u32.to_le_bytes());
    let result = believe(move |_| bytes(&garbage));
    assert_found_out(result.await, "malformed message");
}

#[tokio::test]
async fn a_connection_that_ends_inside_a_frame_is_lost_and_says_so() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let whole = Lie::message(&done(1, vec![]), &[]);
    theirs.write_all(&whole.bytes[..40]).unwrap();
    drop(theirs);
    let (_sender, mut receiver) = link::split(ours, Arena::none(), Limits::default()).unwrap();
    assert_eq!(
        within(receiver.next()).await,
        Err(LinkError::Lost {
            reason: ProtocolError::Truncated.to_string()
        })
    );
}

#[tokio::test]
async fn a_hello_of_another_build() {
    let result = believe(|_| {
        Lie::message(
            &FromWorker::Hello {
                protocol: 1,
                build_id: "another".into(),
                generation: 1,
                pid: 1,
            },
            &[],
        )
    });
    assert_found_out(result.await, "the other end is protocol 1 build another");
}
