//! Detokenizing, whatever the tokens are: together the pieces are what decoding all at once gives.

use impetus_text::{Detokenizer, TextModel};
use proptest::prelude::*;

use crate::{beside, model};

/// Pushes tokens one by one and returns the pieces.
fn pieces(model: &TextModel, tail: &[u32], ids: &[u32]) -> Vec<String> {
    let mut detokenizer = Detokenizer::new(model.tokenizer(), tail).unwrap();
    let mut pieces: Vec<String> = ids
        .iter()
        .map(|id| detokenizer.push(*id).unwrap())
        .collect();
    pieces.push(detokenizer.finish().unwrap());
    pieces
}

fn assert_same_as_all_at_once(model: &TextModel, ids: &[u32]) {
    let whole = model.tokenizer().decode(ids, true).unwrap();
    assert_eq!(pieces(model, &[], ids).concat(), whole, "{ids:?}");
}

/// Texts in which characters take several tokens.
fn texts() -> impl Strategy<Value = String> {
    let letters = prop::sample::select(vec![
        "a",
        " ",
        "  ",
        "\n",
        "the ",
        "server",
        "é",
        "ß",
        "你",
        "好",
        "नमस्ते",
        "👩‍👩‍👧‍👦",
        "🇩🇪",
        "\u{301}",
        "▁",
        "<0x41>",
        "Ġ",
        "<|im_end|>",
        "\u{10FFFF}",
        "\u{0}",
    ]);
    prop::collection::vec(letters, 0..20).prop_map(|letters| letters.concat())
}

/// Token ids of which most are single bytes, so that every kind of malformed UTF-8 comes up.
fn byte_ids(model: &TextModel) -> Vec<u32> {
    let table = model.tokenizer().vocabulary();
    let ids = table
        .tokens
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.bytes.len() == 1 && entry.bytes[0] >= 0x80);
    ids.map(|(id, _)| u32::try_from(id).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn texts_come_out_as_they_went_in(text in texts()) {
        for name in ["byte_level", "byte_fallback", "byte_fallback_unstripped", "unigram"] {
            let model = model_once(name);
            let ids = model.tokenizer().encode(&text, false).unwrap();
            assert_same_as_all_at_once(model, &ids);
        }
    }

    #[test]
    fn random_tokens_come_out_as_all_at_once(seeds in prop::collection::vec(any::<u32>(), 0..40)) {
        for name in ["byte_level", "byte_fallback", "byte_fallback_unstripped", "unigram", "word_piece"] {
            let model = model_once(name);
            // A few ids more than there are, which must be passed over.
            let size = u32::try_from(model.tokenizer().vocabulary().tokens.len()).unwrap() + 3;
            let ids: Vec<u32> = seeds.iter().map(|seed| seed % size).collect();
            assert_same_as_all_at_once(model, &ids);
        }
    }

    #[test]
    fn random_bytes_come_out_as_all_at_once(seeds in prop::collection::vec((any::<u32>(), any::<u32>()), 0..60)) {
        for name in ["byte_level", "byte_fallback", "byte_fallback_unstripped"] {
            let model = model_once(name);
            let bytes = byte_ids(model);
            prop_assert!(bytes.len() >= 128);
            let size = u32::try_from(model.tokenizer().vocabulary().tokens.len()).unwrap();
            let id = |(kind, seed): &(u32, u32)| if kind % 8 == 0 { seed % size } else { bytes[*seed as usize % bytes.len()] };
            let ids: Vec<u32> = seeds.iter().map(id).collect();
            assert_same_as_all_at_once(model, &ids);
        }
    }

    #[test]
    fn a_text_that_is_continued_goes_on_after_the_last_whole_character(text in texts(), at in any::<prop::sample::Index>()) {
        for name in ["byte_level", "byte_fallback", "byte_fallback_unstripped"] {
            let model = model_once(name);
            let tokenizer = model.tokenizer();
            let ids = tokenizer.encode(&text, false).unwrap();
            let cut = at.index(ids.len() + 1);
            let bytes = |ids: &[u32]| -> Vec<u8> {
                let shown = ids.iter().filter(|id| !tokenizer.is_special(**id));
                shown.flat_map(|id| tokenizer.token_bytes(*id).unwrap().to_vec()).collect()
            };
            let whole = String::from_utf8(bytes(&ids)).unwrap();
            let border = whole.floor_char_boundary(bytes(&ids[..cut]).len());
            let is_stripped = name == "byte_fallback" && border == 0;
            let expected = if is_stripped { whole.strip_prefix(' ').unwrap_or(&whole) } else { &whole[border..] };
            prop_assert_eq!(pieces(model, &ids[..cut], &ids[cut..]).concat(), expected, "{} after {} tokens", name, cut);
        }
    }
}

/// Loads each model once for all cases.
fn model_once(name: &'static str) -> &'static TextModel {
    use std::collections::HashMap;
    use std::sync::{LazyLock, Mutex};
    static MODELS: LazyLock<Mutex<HashMap<&'static str, &'static TextModel>>> =
        LazyLock::new(Mutex::default);
    MODELS
        .lock()
        .unwrap()
        .entry(name)
        .or_insert_with(|| Box::leak(Box::new(model(name))))
}

#[test]
fn no_piece_ever_ends_within_a_character() {
    let text = "👩‍👩‍👧‍👦 Grüße 你好 🇩🇪!";
    for name in ["byte_level", "byte_fallback"] {
        let model = model(name);
        let ids = model.tokenizer().encode(text, false).unwrap();
        assert!(
            ids.len() > text.chars().count(),
            "{name} knows these characters, so that nothing is tested"
        );
        let pieces = pieces(&model, &[], &ids);
        assert_eq!(pieces.concat(), text);
        assert!(
            pieces.iter().all(|piece| !piece.contains('\u{FFFD}')),
            "{name}: {pieces:?}"
        );
    }
}

#[test]
fn characters_of_a_byte_level_tokenizer_come_with_their_last_byte() {
    let model = model("byte_level");
    let ids = model.tokenizer().encode("👧a", false).unwrap();
    let pieces = pieces(&model, &[], &ids);
    assert_eq!(
        pieces.last().unwrap(),
        "",
        "nothing is held back at the end of whole characters"
    );
    assert_eq!(pieces[pieces.len() - 2], "a");
    assert_eq!(pieces[pieces.len() - 3], "👧");
}

#[test]
fn a_long_run_of_byte_tokens_streams() {
    let model = model("byte_fallback");
    let text = "ភ".repeat(100);
    let ids = model.tokenizer().encode(&text, false).unwrap();
    assert!(ids.len() >= 300);
    let pieces = pieces(&model, &[], &ids);
    assert_eq!(pieces.concat(), text);
    assert!(pieces.iter().filter(|piece| !piece.is_empty()).count() > 10);
    assert!(pieces.last().unwrap().len() <= impetus_text::detokenize::LONGEST_RUN);
}

#[test]
fn special_tokens_are_shown_only_where_they_are_to_be_kept() {
    let model = model("byte_level");
    let ids = model.tokenizer().encode("<s>a<|im_end|>", false).unwrap();
    assert_eq!(pieces(&model, &[], &ids).concat(), "a");
    let mut detokenizer = Detokenizer::new(model.tokenizer(), &[])
        .unwrap()
        .keep(&[ids[2]]);
    let kept: String = ids
        .iter()
        .map(|id| detokenizer.push(*id).unwrap())
        .collect();
    assert_eq!(kept, "a<|im_end|>");
}

#[test]
fn a_space_that_comes_as_a_byte_is_stripped_at_the_beginning_alone() {
    let model = model("byte_fallback");
    let id = |token: &str| model.tokenizer().id_of(token).unwrap();
    let ids = [id("<0x20>"), id("a"), id("<0x20>"), id("a")];
    assert_same_as_all_at_once(&model, &ids);
    assert_eq!(pieces(&model, &[], &ids).concat(), "a a");
}

#[test]
fn a_decoder_of_another_make_is_followed_through_a_window() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = std::fs::read_to_string(beside("tokenizers/byte_level/tokenizer.json")).unwrap();
    let mut described: serde_json::Value = serde_json::from_str(&file).unwrap();
    let decoder = described["decoder"].take();
    described["decoder"] =
        serde_json::json!({"type": "Sequence", "decoders": [decoder, {"type": "Fuse"}]});
    std::fs::write(folder.path().join("tokenizer.json"), described.to_string()).unwrap();
    let model = TextModel::load(folder.path()).unwrap();
    let text = "👩‍👩‍👧‍👦 Grüße, the server 你好 🇩🇪!\n".repeat(3);
    let ids = model.tokenizer().encode(&text, false).unwrap();
    let pieces = pieces(&model, &[], &ids);
    assert_eq!(pieces.concat(), text);
    assert!(
        pieces.iter().all(|piece| !piece.contains('\u{FFFD}')),
        "{pieces:?}"
    );
    assert!(pieces.iter().filter(|piece| !piece.is_empty()).count() > text.chars().count() / 4);
}
