//! Secrets from files: `AZURE_STORAGE_ACCOUNT_KEY_FILE=/run/secrets/key`.

use std::fs::File;
use std::io::{self, Read as _};

use crate::settings::problems::{Fault, Problem, shown};
use crate::settings::table::setting::Setting;
use crate::settings::values::{Given, NotText, Origin, Values};

/// Windows editors write it in front of UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Longest secret; a larger file was named by mistake.
const LEN_MAX_BYTES: u64 = 64 * 1024;

/// Takes a secret's value as given, or from the file that was named instead.
pub(in crate::settings) fn take(
    values: &mut Values,
    setting: &'static Setting,
    value: Option<(Given, Origin)>,
    path: Option<(Given, Origin)>,
) {
    let is_something =
        |given: &(Given, Origin)| !matches!(&given.0, Ok(text) if text.trim().is_empty());
    let Some((path, origin)) = path.filter(is_something) else {
        return values.take(setting, value);
    };
    if value.as_ref().is_some_and(is_something) {
        let name = setting.file_name;
        let what = format!("it is set, and so is {name}");
        let fix = format!("remove one of the two: {name} names a file that holds the value");
        values.take(setting, value);
        return values.refuse(setting, Fault::with_fix(what, fix));
    }
    let read = path
        .map_err(|NotText| "its value is not UTF-8 text".to_owned())
        .and_then(|path| {
            let path = path.trim().to_owned();
            let value = read(&path).map_err(|error| format!("{}: {error}", shown(&path)))?;
            Ok((value, path))
        });
    match read {
        Ok((value, path)) => {
            let path = shown(&path);
            values.take(setting, Some((value, Origin::SecretFile { path })));
        }
        Err(what) => values.refuse_other(Problem {
            setting: setting.file_name.to_owned(),
            value: None,
            origin: origin.note_for(setting.file_flag),
            what,
            fix: "name a file that silt can read and that contains only the value".to_owned(),
        }),
    }
}

fn read(path: &str) -> io::Result<Given> {
    let mut bytes = Vec::new();
    let mut start = File::open(path)?.take(LEN_MAX_BYTES + 1);
    start.read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LEN_MAX_BYTES {
        return Err(io::Error::other("it is larger than 64 KiB"));
    }
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
    Ok(String::from_utf8(text.to_vec()).map_err(|_| NotText))
}
