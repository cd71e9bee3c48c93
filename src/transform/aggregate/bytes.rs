//! How states write maps of bytes into snapshots.

/// Appends the length and the bytes of a part.
pub fn write_part(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&(part.len() as u64).to_le_bytes());
    out.extend_from_slice(part);
}

/// Moves a part from the front of `bytes`.
pub fn read_part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (part, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    *bytes = rest;
    Some(part)
}

/// Moves a count from the front of `bytes`.
pub fn read_count(bytes: &mut &[u8]) -> Option<i64> {
    let (count, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(i64::from_le_bytes(*count))
}
