//! Files of certificates that vouch for upstreams.

use std::fs;
use std::path::PathBuf;

use super::kind::compound::Placed;
use super::problem::{KeyPath, Problems};
use crate::model::certificates::Roots;

/// Reads them, and says what is wrong with each; none where no file is named.
pub(super) fn roots(
    files: &[Placed<PathBuf>],
    path: &KeyPath<'_>,
    problems: &mut Problems,
) -> Option<Roots> {
    let mut certificates = Vec::new();
    for (index, Placed { place, value }) in files.iter().enumerate() {
        let read = fs::read(value)
            .map_err(|why| format!("cannot be read: {why}"))
            .and_then(|pem| Roots::read(&pem).map_err(|why| why.to_string()));
        match read {
            Ok(read) => certificates.extend(read),
            Err(why) => {
                let message = format!("{:?} {why}", value.display().to_string());
                problems.add(place, KeyPath::Index(path, index), message);
            }
        }
    }
    (!files.is_empty()).then(|| Roots::new(certificates))
}
