//! Finds texts in bytes that come in pieces, also where one lies across two pieces.

use zeroize::Zeroizing;

use crate::model::secret::Secret;

/// Replaces texts as bytes pass. Holds back only what may be the beginning of one.
pub(super) struct Replacer {
    texts: Vec<Text>,
    /// Whether some text begins with the byte.
    begins: Box<[bool; 256]>,
    held: Zeroizing<Vec<u8>>,
    found: usize,
}

/// A text and what takes its place.
pub(super) struct Text {
    pub(super) find: Secret,
    pub(super) put: Secret,
}

impl Replacer {
    /// Of texts that begin alike the longest is found.
    pub(super) fn new(mut texts: Vec<Text>) -> Self {
        texts.retain(|text| !text.find.expose().is_empty());
        texts.sort_by_key(|text| std::cmp::Reverse(text.find.expose().len()));
        let mut begins = Box::new([false; 256]);
        for text in &texts {
            if let Some(first) = text.find.expose().first() {
                begins[usize::from(*first)] = true;
            }
        }
        Self {
            texts,
            begins,
            held: Zeroizing::default(),
            found: 0,
        }
    }

    /// How many were replaced.
    pub(super) const fn found(&self) -> usize {
        self.found
    }

    /// How many bytes are held back.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes a piece, gives what may go on.
    pub(super) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(piece);
        self.replace(&bytes, false)
    }

    /// Gives what was held back: nothing follows.
    pub(super) fn end(&mut self) -> Vec<u8> {
        let bytes = std::mem::take(&mut self.held);
        self.replace(&bytes, true)
    }

    /// The whole, at once.
    pub(super) fn whole(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut replaced = self.push(bytes);
        replaced.extend(self.end());
        replaced
    }

    fn replace(&mut self, bytes: &[u8], is_end: bool) -> Vec<u8> {
        let mut replaced = Vec::with_capacity(bytes.len());
        let (mut at, mut copied) = (0, 0);
        while at < bytes.len() {
            if !self.begins[usize::from(bytes[at])] {
                at += 1;
                continue;
            }
            let rest = &bytes[at..];
            // The longest comes first, so that one that may still come is waited for.
            let mut texts = self.texts.iter();
            let text = texts.find(|text| {
                let find = text.find.expose();
                rest.starts_with(find) || (!is_end && find.starts_with(rest))
            });
            match text {
                None => at += 1,
                Some(text) if rest.starts_with(text.find.expose()) => {
                    replaced.extend_from_slice(&bytes[copied..at]);
                    replaced.extend_from_slice(text.put.expose());
                    at += text.find.expose().len();
                    copied = at;
                    self.found += 1;
                }
                Some(_begun) => {
                    replaced.extend_from_slice(&bytes[copied..at]);
                    self.held = Zeroizing::new(rest.to_vec());
                    return replaced;
                }
            }
        }
        replaced.extend_from_slice(&bytes[copied..]);
        replaced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replacer(texts: &[(&str, &str)]) -> Replacer {
        let text = |(find, put): &(&str, &str)| Text {
            find: Secret::new(find.as_bytes().to_vec()),
            put: Secret::new(put.as_bytes().to_vec()),
        };
        Replacer::new(texts.iter().map(text).collect())
    }

    #[test]
    fn a_text_is_found_wherever_the_pieces_end() {
        let text = "xabcabcdabyabcabca";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut replacer = replacer(&[("abc", "-")]);
                let mut replaced = replacer.push(&text.as_bytes()[..first]);
                replaced.extend(replacer.push(&text.as_bytes()[first..second]));
                replaced.extend(replacer.push(&text.as_bytes()[second..]));
                replaced.extend(replacer.end());
                assert_eq!(replaced, b"x--daby--a", "{first} {second}");
                assert_eq!((replacer.found(), replacer.held()), (4, 0));
            }
        }
    }

    #[test]
    fn of_texts_that_begin_alike_the_longest_is_found() {
        let mut replacer = replacer(&[("ab", "1"), ("abcd", "2")]);
        assert_eq!(replacer.push(b"abc"), b"");
        assert_eq!(replacer.push(b"d ab"), b"2 ");
        assert_eq!(replacer.end(), b"1");
    }

    #[test]
    fn only_what_may_begin_a_text_is_held_back() {
        let mut replacer = replacer(&[("secret", "******")]);
        assert_eq!(replacer.push(b"event: sec\n"), b"event: sec\n");
        assert_eq!(replacer.push(b"event: sec"), b"event: ");
        assert_eq!(replacer.held(), 3);
        assert_eq!(replacer.end(), b"sec");
    }
}
