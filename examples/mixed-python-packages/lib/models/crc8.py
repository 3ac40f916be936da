"""CRC-8 with the polynomial x^8 + x^2 + x + 1, start value 0, bit by bit."""


def crc8(data: bytes) -> int:
    """Return the checksum of ``data``."""
    remainder = int.from_bytes(data, "big") << 8
    for place in reversed(range(8, remainder.bit_length())):
        if remainder >> place & 1:
            remainder ^= 0x107 << (place - 8)
    return remainder
