//! Packet lines as bytes, and the bands inside them (gitprotocol-pack, "side-band-64k").

use bytes::{BufMut, Bytes, BytesMut};

/// Payload of one packet on a band: 65520 less the length and the band's number.
const BAND_PAYLOAD: usize = 65520 - 5;

/// `0000`.
pub(super) const FLUSH: &[u8] = b"0000";
/// `0001`.
pub(super) const DELIMITER: &[u8] = b"0001";
/// An empty packet on the progress band: says nothing, keeps the connection.
pub(super) const KEEPALIVE: &[u8] = b"0005\x02";

/// The bands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Band {
    /// What the client asked for.
    Data = 1,
    /// What the person at the terminal reads, each line after `remote: `.
    Progress = 2,
    /// The last words; the client gives up.
    Error = 3,
}

/// Appends one packet line; `payload` must be at most 65516 bytes.
pub(super) fn line(out: &mut BytesMut, payload: &[u8]) {
    out.put_slice(format!("{:04x}", payload.len() + 4).as_bytes());
    out.put_slice(payload);
}

/// `payload` on `band`, cut into as many packets as it needs.
pub(super) fn on_band(band: Band, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(payload.len() + 5 * (payload.len() / BAND_PAYLOAD + 1));
    for chunk in payload.chunks(BAND_PAYLOAD) {
        out.put_slice(format!("{:04x}", chunk.len() + 5).as_bytes());
        out.put_u8(band as u8);
        out.put_slice(chunk);
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_payloads_are_cut_and_arrive_whole() {
        for length in [0, 1, BAND_PAYLOAD, BAND_PAYLOAD + 1, 3 * BAND_PAYLOAD] {
            let payload: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let packets = on_band(Band::Progress, &payload);
            let (mut rest, mut arrived) = (&packets[..], Vec::new());
            while !rest.is_empty() {
                let gix_packetline::decode::Stream::Complete { line, bytes_consumed } =
                    gix_packetline::decode::streaming(rest).unwrap()
                else {
                    panic!("incomplete packet")
                };
                let data = line.as_slice().unwrap();
                assert_eq!(data[0], 2);
                arrived.extend_from_slice(&data[1..]);
                rest = &rest[bytes_consumed..];
            }
            assert_eq!(arrived, payload);
        }
    }
}
