//! Runs: every type, every way a tensor can travel, and what goes wrong with them.

use impetus_engine::tensor::{encode_strings, split_strings};
use impetus_engine::{
    DType, EngineError, Fault, Limits, LinkError, Received, StackedInput, Tensor,
};

use crate::onnx;
use crate::support::{Worker, pattern, within};

/// Bytes for one slot of the smallest size.
const SLOT: usize = 64 * 1024;

/// Limits that few bytes exceed, where there is anything to exceed them with.
fn small_slots() -> Limits {
    if !cfg!(target_os = "linux") {
        return Limits::default();
    }
    Limits {
        inline_max: 1024,
        slot_bytes: SLOT,
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_tensor_of_every_type_comes_back_as_it_was() {
    let mut worker = Worker::start().await;
    for dtype in DType::ALL {
        let spec = worker.spec(&onnx::identity(dtype));
        let loaded = worker.load(&spec).await.unwrap();
        assert_eq!(loaded.inputs[0].dtype, dtype);
        assert!(loaded.warm_up_skipped.is_none(), "{loaded:?}");
        let data: Vec<u8> = match dtype.size() {
            Some(size) => (0..5 * size).map(|index| (index % 2) as u8).collect(),
            None => {
                let strings: [&[u8]; 5] = [
                    b"",
                    b"a\0b",
                    &[0xff, 0xc0],
                    "größe".as_bytes(),
                    &[b'x'; 300],
                ];
                encode_strings(strings).unwrap()
            }
        };
        let input = Tensor::try_new("x", dtype, vec![5], data).unwrap();

        let outputs = worker.run(&[&input]).await.unwrap();

        assert_eq!(outputs.len(), 1);
        assert_eq!(outputs[0].name(), "y");
        assert_eq!(outputs[0].dtype(), dtype);
        assert_eq!(outputs[0].shape(), [5]);
        assert_eq!(outputs[0].data(), input.data(), "{dtype}");
        assert_eq!(
            split_strings(outputs[0].data()).count(),
            if dtype == DType::Bytes {
                5
            } else {
                split_strings(input.data()).count()
            }
        );
    }
}

#[tokio::test]
async fn requests_stacked_into_a_batch_get_their_own_rows_back() {
    let mut worker = Worker::with_model(&onnx::add()).await;
    let rows: Vec<Vec<u8>> = (0..4u8)
        .map(|row| {
            [f32::from(row), 0.5, -1.0]
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        })
        .collect();
    let parts: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    let input = |name| StackedInput {
        name,
        dtype: DType::F32,
        shape: &[4, 3],
        parts: &parts,
    };

    within(worker.sender.run(1, &[input("b"), input("a")]))
        .await
        .unwrap();

    let outputs = worker.answer(1).await.unwrap();
    assert_eq!(outputs[0].shape(), [4, 3]);
    assert_eq!(
        outputs[0].to_f32().unwrap(),
        [
            0.0, 1.0, -2.0, 2.0, 1.0, -2.0, 4.0, 1.0, -2.0, 6.0, 1.0, -2.0
        ]
    );
}

#[tokio::test]
async fn tensors_of_every_size_come_back_whole() {
    let mut worker = Worker::with_model_and_limits(&onnx::identity(DType::U8), small_slots()).await;
    // Nothing, inline to the byte, a slot to the byte, and beyond a slot.
    for len in [0, 1, 63, 64, 1024, 1025, SLOT, SLOT + 1, 5_000_000] {
        let input = pattern("x", len);
        let outputs = worker.run(&[&input]).await.unwrap();
        assert!(outputs[0].data() == input.data(), "{len} bytes differ");
    }
}

#[tokio::test]
async fn without_an_arena_tensors_travel_inside_frames_or_in_files_of_their_own() {
    let limits = Limits {
        frame_cap: 2 * 1024 * 1024,
        inline_max: 1024 * 1024,
        slots: 0,
        ..Limits::default()
    };
    let mut worker = Worker::with_model_and_limits(&onnx::identity(DType::U8), limits).await;
    let beyond_a_frame = cfg!(target_os = "linux").then_some(3_000_000);
    for len in [10, 1_000_000].into_iter().chain(beyond_a_frame) {
        let input = pattern("x", len);
        let outputs = worker.run(&[&input]).await.unwrap();
        assert!(outputs[0].data() == input.data(), "{len} bytes differ");
    }
}

#[tokio::test]
async fn what_no_frame_can_carry_is_refused_and_the_link_is_as_good_as_before() {
    let mut worker = Worker::with_model(&onnx::identity(DType::U8)).await;
    let long_name = "x".repeat(Limits::default().frame_cap);

    let error = worker
        .try_send(9, &[&pattern(&long_name, 1)])
        .await
        .unwrap_err();

    assert!(
        matches!(
            &error,
            LinkError::Refused(EngineError::InputTooLarge { .. })
        ),
        "{error}"
    );
    worker.run(&[&pattern("x", 10)]).await.unwrap();
}

#[tokio::test]
async fn an_output_much_larger_than_its_input_comes_back_whole() {
    let mut worker = Worker::with_model_and_limits(&onnx::tile(), small_slots()).await;
    let x = pattern("x", 251);
    // Inline, then a file of the worker's own, then the slot that the link has learned to lend,
    // then beyond that slot.
    for times in [1i64, 100, 100, 10_000] {
        let count = Tensor::try_new("times", DType::I64, vec![1], times.to_le_bytes().to_vec());
        let outputs = worker.run(&[&x, &count.unwrap()]).await.unwrap();
        let expected = pattern("y", 251 * times as usize);
        assert!(outputs[0].data() == expected.data(), "{times} times");
    }
}

#[tokio::test]
async fn outputs_beyond_the_cap_fail_their_run_alone() {
    let limits = Limits {
        output_cap: 1_000_000,
        ..small_slots()
    };
    let mut worker = Worker::with_model_and_limits(&onnx::tile(), limits).await;
    let x = pattern("x", 1000);
    let times = |times: i64| {
        Tensor::try_new("times", DType::I64, vec![1], times.to_le_bytes().to_vec()).unwrap()
    };

    let error = worker.run(&[&x, &times(1001)]).await.unwrap_err();

    assert_eq!(
        error,
        EngineError::OutputTooLarge {
            bytes: 1_001_000,
            cap: 1_000_000
        }
    );
    worker.run(&[&x, &times(1000)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_runs_in_flight_are_answered_each_with_its_own() {
    let limits = small_slots();
    let mut worker = Worker::with_model_and_limits(&onnx::identity(DType::U8), limits).await;
    let lengths: Vec<usize> = (0..400)
        .map(|run| [10, 900, 3000, 70_000][run % 4] + run)
        .collect();
    let senders = (0..4).map(|task| {
        let sender = worker.sender.clone();
        let lengths = lengths.clone();
        tokio::spawn(async move {
            for (id, len) in lengths
                .into_iter()
                .enumerate()
                .filter(|(id, _)| id % 4 == task)
            {
                let input = pattern("x", len);
                let stacked = StackedInput {
                    name: "x",
                    dtype: DType::U8,
                    shape: &[len],
                    parts: &[&input.data()[..len / 2], &input.data()[len / 2..]],
                };
                sender.run(id as u64, &[stacked]).await.unwrap();
            }
        })
    });
    let senders: Vec<_> = senders.collect();

    let mut answered = vec![false; lengths.len()];
    for _ in 0..lengths.len() {
        let Received::Done { id, outputs, .. } = worker.next().await else {
            panic!("a run was not answered");
        };
        let id = id as usize;
        assert!(!answered[id], "run {id} was answered twice");
        answered[id] = true;
        assert!(outputs[0].data() == pattern("x", lengths[id]).data());
    }
    for sender in senders {
        sender.await.unwrap();
    }
    assert_eq!(worker.sender.in_flight(), 0);
}

#[tokio::test]
async fn wrong_inputs_are_the_clients_fault_and_say_what_is_wrong() {
    let mut worker = Worker::with_model(&onnx::add()).await;
    let rows = |name: &str| Tensor::from_f32(name, vec![1, 3], &[1.0; 3]).unwrap();
    let cases: [(&[&Tensor], &str); 6] = [
        (&[&rows("a")], "input b is missing"),
        (
            &[&rows("a"), &rows("b"), &rows("c")],
            "the model has no input c",
        ),
        (&[&rows("a"), &rows("a")], "input a is given twice"),
        (
            &[
                &rows("a"),
                &Tensor::from_f32("b", vec![3], &[1.0; 3]).unwrap(),
            ],
            "input b must have shape [batch, 3], got [3]",
        ),
        (
            &[
                &rows("a"),
                &Tensor::from_f32("b", vec![1, 2], &[1.0; 2]).unwrap(),
            ],
            "input b must have shape [batch, 3], got [1, 2]",
        ),
        (
            &[
                &rows("a"),
                &Tensor::try_new("b", DType::I32, vec![1, 3], vec![0; 12]).unwrap(),
            ],
            "input b must be f32, got i32",
        ),
    ];
    for (inputs, expected) in cases {
        let error = worker.run(inputs).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.fault(), Fault::Client);
        assert!(!error.is_retryable());
    }
    let outputs = worker.run(&[&rows("a"), &rows("b")]).await.unwrap();
    assert_eq!(outputs[0].to_f32().unwrap(), [2.0; 3]);
}

#[tokio::test]
async fn a_mistake_too_long_to_report_does_not_end_the_worker() {
    let mut worker = Worker::with_model(&onnx::identity(DType::U8)).await;
    // Zeros take a byte each on the way there and more in words.
    let shape = vec![0; 200_000];
    let stacked = StackedInput {
        name: "x",
        dtype: DType::U8,
        shape: &shape,
        parts: &[],
    };
    within(worker.sender.run(1, &[stacked])).await.unwrap();
    let error = worker.answer(1).await.unwrap_err();
    assert!(matches!(error, EngineError::WrongShape { .. }), "{error}");
    worker.run(&[&pattern("x", 4)]).await.unwrap();
}

#[tokio::test]
async fn malformed_strings_and_bools_never_reach_the_runtime() {
    let mut worker = Worker::with_model(&onnx::identity(DType::Bytes)).await;
    let stacked = StackedInput {
        name: "x",
        dtype: DType::Bytes,
        shape: &[2],
        parts: &[&[9, 0, 0, 0, b'c', b'u', b't']],
    };
    within(worker.sender.run(1, &[stacked])).await.unwrap();
    let error = worker.answer(1).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "input x is malformed: malformed strings: the data ends inside element 0 of 2"
    );

    let spec = worker.spec(&onnx::identity(DType::Bool));
    worker.load(&spec).await.unwrap();
    let stacked = StackedInput {
        dtype: DType::Bool,
        parts: &[&[1, 7]],
        ..stacked
    };
    within(worker.sender.run(2, &[stacked])).await.unwrap();
    let error = worker.answer(2).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "input x is malformed: element 1 is 7, a bool is 0 or 1"
    );
}

#[tokio::test]
async fn a_run_that_fails_inside_the_runtime_leaves_the_worker_fit() {
    let mut worker = Worker::with_model(&onnx::gather()).await;
    let at = |index: i64| {
        Tensor::try_new("at", DType::I64, vec![1], index.to_le_bytes().to_vec()).unwrap()
    };

    let error = worker.run(&[&at(9)]).await.unwrap_err();

    let EngineError::RunFailed { reason } = &error else {
        panic!("unexpected {error:?}");
    };
    assert!(reason.contains("Gather"), "{reason}");
    assert_eq!(error.fault(), Fault::Worker);
    assert!(!error.is_retryable());
    let outputs = worker.run(&[&at(2)]).await.unwrap();
    assert_eq!(outputs[0].to_f32().unwrap(), [30.0]);
}

#[tokio::test]
async fn parts_that_do_not_add_up_are_refused_and_nothing_is_sent() {
    let mut worker = Worker::with_model(&onnx::identity(DType::U8)).await;
    let stacked = StackedInput {
        name: "x",
        dtype: DType::U8,
        shape: &[4],
        parts: &[&[1, 2, 3]],
    };
    let error = worker.sender.run(1, &[stacked]).await.unwrap_err();
    assert!(matches!(
        error,
        LinkError::Refused(EngineError::InputMalformed { .. })
    ));
    assert_eq!(worker.sender.in_flight(), 0);
    worker.run(&[&pattern("x", 4)]).await.unwrap();
}
