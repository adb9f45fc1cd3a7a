//! Stop strings, however the text is cut.

use impetus_text::StopStrings;
use proptest::prelude::*;

/// The text up to the stop string that is complete first, and which one that is.
fn searched(text: &str, stops: &[String]) -> (String, Option<usize>) {
    for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
        let complete = stops
            .iter()
            .enumerate()
            .filter(|(_, stop)| text[..end].ends_with(stop.as_str()));
        if let Some((index, stop)) =
            complete.max_by_key(|(index, stop)| (stop.len(), std::cmp::Reverse(*index)))
        {
            return (text[..end - stop.len()].to_owned(), Some(index));
        }
    }
    (text.to_owned(), None)
}

/// Few letters, so that stop strings come up and overlap.
fn letters(most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec!["a", "b", "é", "你", "\n"]),
        1..most,
    )
    .prop_map(|letters| letters.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_what_searching_the_whole_text_gives(
        pieces in prop::collection::vec(letters(6), 0..12),
        stops in prop::collection::vec(letters(5), 0..4),
    ) {
        let text = pieces.concat();
        let (expected, which) = searched(&text, &stops);
        let mut watch = StopStrings::try_new(stops).unwrap();
        let (mut shown, mut stopped) = (String::new(), None);
        for piece in &pieces {
            let stopping = watch.push(piece);
            shown.push_str(&stopping.text);
            prop_assert!(expected.starts_with(&shown), "{shown:?} leaks beyond {expected:?}");
            stopped = stopping.stopped;
        }
        if stopped.is_none() {
            shown.push_str(&watch.finish());
        }
        prop_assert_eq!(shown, expected);
        prop_assert_eq!(stopped, which);
    }

    #[test]
    fn no_more_is_held_back_than_may_become_a_stop_string(
        text in letters(30),
        stops in prop::collection::vec(letters(5), 1..4),
    ) {
        let mut watch = StopStrings::try_new(stops.clone()).unwrap();
        let stopping = watch.push(&text);
        if stopping.stopped.is_none() {
            let held = watch.finish();
            prop_assert!(held.is_empty() || stops.iter().any(|stop| stop.starts_with(&held) && *stop != held));
        }
    }
}

#[test]
fn a_stop_string_across_three_pieces_is_never_seen() {
    let mut watch = StopStrings::try_new(vec!["\n\nUser:".to_owned()]).unwrap();
    assert_eq!(watch.push("Yes.\n").text, "Yes.");
    assert_eq!(watch.push("\nUs").text, "");
    let stopping = watch.push("er: and more");
    assert_eq!((stopping.text.as_str(), stopping.stopped), ("", Some(0)));
    let after = watch.push("more");
    assert_eq!((after.text.as_str(), after.stopped), ("", Some(0)));
    assert_eq!(watch.finish(), "");
}

#[test]
fn what_became_no_stop_string_is_given_out() {
    let mut watch = StopStrings::try_new(vec!["END".to_owned()]).unwrap();
    assert_eq!(watch.push("the EN").text, "the ");
    assert_eq!(watch.push("G").text, "ENG");
    assert_eq!(watch.push("E").text, "");
    assert_eq!(watch.finish(), "E");
}

#[test]
fn an_empty_stop_string_is_refused() {
    let error = StopStrings::try_new(vec!["a".to_owned(), String::new()]).unwrap_err();
    assert_eq!(error.index, 1);
}
