//! The encoding of header maps: `proxy_get_header_map_pairs` and `proxy_set_header_map_pairs`.

/// Encodes pairs: their count, the sizes of each name and value, then each name and value followed by a NUL. No pairs
/// encode to no bytes. All numbers are 4 bytes, little-endian.
pub(crate) fn encode_pairs(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    if pairs.is_empty() {
        return Vec::new();
    }
    let number = |size: usize| u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = Vec::from(number(pairs.len()));
    for (name, value) in pairs {
        bytes.extend(number(name.len()));
        bytes.extend(number(value.len()));
    }
    for (name, value) in pairs {
        bytes.extend([name, &[0][..], value, &[0]].concat());
    }
    bytes
}

/// Envoy's limits for pairs that a guest passes.
const MAX_PAIRS: usize = 1024;
const MAX_PAIRS_BYTES: usize = 1 << 20;

/// Decodes pairs. Returns no pairs if the bytes are not exactly one encoding, or exceed Envoy's limits.
pub(crate) fn decode_pairs(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let number = |at: usize| {
        let bytes = bytes.get(at..at.checked_add(4)?)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    let decode = || -> Option<Vec<_>> {
        let count = number(0).filter(|count| *count <= MAX_PAIRS && bytes.len() <= MAX_PAIRS_BYTES)?;
        let mut at = 4 + 8 * count;
        let mut part = |size: usize| {
            let end = at.checked_add(size)?;
            let part = bytes.get(at..end)?.to_vec();
            at = end + 1;
            (bytes.get(end) == Some(&0)).then_some(part)
        };
        let pairs: Option<Vec<_>> =
            (0..count).map(|pair| Some((part(number(4 + 8 * pair)?)?, part(number(8 + 8 * pair)?)?))).collect();
        pairs.filter(|_| at == bytes.len())
    };
    decode().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{decode_pairs, encode_pairs};

    #[test]
    fn decoding_reverses_encoding() {
        for pairs in [
            vec![],
            vec![(b"a".to_vec(), b"".to_vec())],
            vec![(b":path".to_vec(), b"/\xff".to_vec()), (b"".to_vec(), b"x\0y".to_vec())],
        ] {
            assert_eq!(decode_pairs(&encode_pairs(&pairs)), pairs);
        }
    }

    #[test]
    fn malformed_bytes_decode_to_no_pairs() {
        let bytes = encode_pairs(&[(b"name".to_vec(), b"value".to_vec())]);
        for end in 0..bytes.len() {
            assert_eq!(decode_pairs(&bytes[..end]), [], "{end} bytes");
        }
        assert_eq!(decode_pairs(&[&bytes[..], b"x"].concat()), []);
        let mut unended = bytes.clone();
        unended[4 + 8 + 4] = b'x';
        assert_eq!(decode_pairs(&unended), []);
        assert_eq!(decode_pairs(&[0xff; 64]), []);
    }

    #[test]
    fn pairs_beyond_envoys_limits_decode_to_none() {
        let pairs = |count| vec![(b"a".to_vec(), b"b".to_vec()); count];
        assert_eq!(decode_pairs(&encode_pairs(&pairs(1024))).len(), 1024);
        assert_eq!(decode_pairs(&encode_pairs(&pairs(1025))).len(), 0);
        let large = |size| vec![(b"a".to_vec(), vec![b'b'; size])];
        assert_eq!(decode_pairs(&encode_pairs(&large((1 << 20) - 15))).len(), 1);
        assert_eq!(decode_pairs(&encode_pairs(&large((1 << 20) - 14))).len(), 0);
    }
}
