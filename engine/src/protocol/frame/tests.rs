use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::error::EngineError;
use crate::protocol::{Done, FromWorker, Place, Run, SlotGrant, ToWorker, WireTensor};
use crate::tensor::DType;

const CAP: usize = 256 * 1024;

fn framed<M: Serialize>(message: &M, payload: &[u8]) -> Vec<u8> {
    let mut buffer = Vec::new();
    encode(&mut buffer, CAP, message, payload.len(), |buffer| {
        buffer.extend_from_slice(payload);
    })
    .unwrap();
    buffer
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        Just(Place::Inline),
        Just(Place::Attached),
        (any::<usize>(), any::<u64>())
            .prop_map(|(index, epoch)| Place::Slot(SlotGrant { index, epoch })),
    ]
}

fn wire_tensor() -> impl Strategy<Value = WireTensor> {
    (
        ".{0,20}",
        proptest::sample::select(DType::ALL.to_vec()),
        vec(any::<usize>(), 0..6),
        place(),
        any::<(usize, usize)>(),
    )
        .prop_map(|(name, dtype, shape, place, (offset, len))| WireTensor {
            name,
            dtype,
            shape,
            place,
            offset,
            len,
        })
}

fn from_worker() -> impl Strategy<Value = FromWorker> {
    prop_oneof![
        (any::<u64>(), vec(wire_tensor(), 0..4), any::<u64>()).prop_map(
            |(id, outputs, run_micros)| FromWorker::Done(Done {
                id,
                outputs,
                run_micros,
            })
        ),
        (any::<u64>(), ".{0,300}").prop_map(|(id, reason)| FromWorker::RunFailed {
            id,
            error: EngineError::RunFailed { reason },
        }),
        any::<(bool, u64)>().prop_map(|(idle, self_checks)| FromWorker::Beat { idle, self_checks }),
        ".{0,300}".prop_map(|detail| FromWorker::SelfCheckFailed { detail }),
    ]
}

proptest! {
    #[test]
    fn a_message_with_its_payload_survives_the_round_trip(
        message in from_worker(),
        payload in vec(any::<u8>(), 0..2000),
    ) {
        let frame = framed(&message, &payload);
        prop_assert_eq!(frame.len() % ALIGNMENT, 0);
        prop_assert_eq!(frame_len(&frame, CAP), Ok(Some(frame.len())));
        let (decoded, rest) = decode::<FromWorker>(&frame).unwrap();
        prop_assert_eq!(decoded, message);
        prop_assert_eq!(rest.as_ptr().addr().wrapping_sub(frame.as_ptr().addr()) % ALIGNMENT, 0);
        prop_assert_eq!(&rest[..payload.len()], &payload);
        prop_assert!(rest[payload.len()..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_frame_cut_anywhere_is_an_error_or_waits_for_more(
        message in from_worker(),
        cut in any::<prop::sample::Index>(),
    ) {
        let frame = framed(&message, b"payload");
        let cut = &frame[..cut.index(frame.len())];
        match frame_len(cut, CAP) {
            Ok(Some(whole)) => prop_assert!(cut.len() < whole),
            Ok(None) => prop_assert!(cut.len() < 4),
            Err(error) => prop_assert!(false, "{error}"),
        }
        // Whatever a cut frame decodes to, it neither panics nor reads beyond its end.
        let _ = decode::<FromWorker>(cut);
    }

    #[test]
    fn garbage_never_panics(bytes in vec(any::<u8>(), 0..500)) {
        let _ = frame_len(&bytes, CAP);
        let _ = decode::<FromWorker>(&bytes);
        let _ = decode::<ToWorker>(&bytes);
    }

    #[test]
    fn a_frame_with_one_byte_changed_never_panics(
        message in from_worker(),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let mut frame = framed(&message, b"payload");
        let at = at.index(frame.len());
        frame[at] = to;
        let _ = decode::<FromWorker>(&frame);
        if let Ok(Some(len)) = frame_len(&frame, CAP) {
            prop_assert!(len <= CAP);
        }
    }

    #[test]
    fn pieces_are_aligned_and_do_not_overlap(lengths in vec(0usize..1000, 0..20)) {
        let (offsets, total) = layout(lengths.iter().copied()).unwrap();
        let mut end = 0;
        for (offset, length) in offsets.iter().zip(&lengths) {
            prop_assert!(*offset >= end);
            prop_assert_eq!(piece(*offset, *length, total), Ok(*offset..offset + length));
            end = offset + length;
        }
        prop_assert_eq!(end, total);
    }
}

#[test]
fn a_frame_beyond_the_cap_is_refused_and_leaves_the_buffer_as_it_was() {
    let mut buffer = vec![1, 2, 3];
    let error = encode(&mut buffer, 1024, &0u8, 1024, |_| unreachable!()).unwrap_err();
    assert_eq!(
        error,
        ProtocolError::Oversized {
            bytes: 1088,
            cap: 1024
        }
    );
    assert_eq!(buffer, [1, 2, 3]);
}

#[test]
fn a_length_beyond_the_cap_is_known_from_four_bytes() {
    let length = u32::MAX.to_le_bytes();
    assert!(matches!(
        frame_len(&length, CAP),
        Err(ProtocolError::Oversized { .. })
    ));
    assert_eq!(frame_len(&length[..3], CAP), Ok(None));
}

#[test]
fn a_length_that_is_no_whole_number_of_blocks_is_refused() {
    assert_eq!(
        frame_len(&100u32.to_le_bytes(), CAP),
        Err(ProtocolError::Misaligned(104))
    );
}

#[test]
fn a_message_that_states_more_elements_than_it_has_allocates_nothing_for_them() {
    // A run with 2^40 inputs, in 64 bytes.
    let mut frame = framed(
        &ToWorker::Run(Run {
            id: 1,
            slot: None,
            inputs: Vec::new(),
        }),
        &[],
    );
    let count_at = 4 + 3;
    assert_eq!(frame[count_at], 0);
    frame[count_at..count_at + 6].copy_from_slice(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x20]);
    assert!(matches!(
        decode::<ToWorker>(&frame),
        Err(ProtocolError::Malformed(_))
    ));
}

#[test]
fn a_piece_outside_its_place_is_refused() {
    assert!(piece(0, 65, 64).is_err());
    assert!(piece(64, 1, 64).is_err());
    assert!(piece(usize::MAX - 63, 64, 64).is_err());
    assert!(piece(8, 8, 64).is_err(), "not aligned");
    assert_eq!(piece(64, 0, 64), Ok(64..64));
}
