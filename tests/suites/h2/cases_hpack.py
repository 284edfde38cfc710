"""h2spec's cases of decoding errors in header blocks."""

import expect
from case import case
from frames import COMPRESSION_ERROR, HEADER_TABLE_SIZE, headers


def number(prefix, bits, value):
    """RFC 7541 §5.1."""
    most = 2**bits - 1
    if value < most:
        return bytes([prefix | value])
    out, value = [prefix | most], value - most
    while value >= 128:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    return bytes([*out, value])


def bad(id, section, sends, after=b"", before=b""):
    @case(f"hpack/{id}", f"7541 §{section}", sends)
    def _(peer):
        peer.send(headers(1, before + peer.encode(peer.request()) + after))
        return expect.connection_error(peer, COMPRESSION_ERROR)


bad("2.3.3/1", "2.3.3", "an indexed field past both tables", number(0x80, 7, 70))
bad("2.3.3/2", "2.3.3", "a literal whose name's index is past both tables", number(0x40, 6, 70) + b"\x00")
bad("4.2/1", "4.2", "a table size update at the end of a block", b"\x21")
bad("5.2/1", "5.2", "a Huffman string with more than 7 bits of padding", b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff")
bad("5.2/2", "5.2", "a Huffman string padded with zeros", b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90")
bad("5.2/3", "5.2", "a Huffman string with EOS inside", b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\xff\xff\xff\xfd\x25\x42\x7f")
bad("6.1/1", "6.1", "an indexed field with index 0", b"\x80")


@case("hpack/6.3/1", "7541 §6.3", "a table size update above SETTINGS_HEADER_TABLE_SIZE")
def _(peer):
    size = peer.settings.get(HEADER_TABLE_SIZE, 4096) + 1
    peer.send(headers(1, number(0x20, 5, size) + peer.encode(peer.request())))
    return expect.connection_error(peer, COMPRESSION_ERROR)
