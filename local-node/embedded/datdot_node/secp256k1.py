"""Recovery of secp256k1 public keys from signatures.

Apart from the other host functions, because the library behind it takes long to import and hardly
any transaction is signed so.
"""

from eth_keys.backends.native.main import NativeECCBackend
from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError

_BAD_RS, _BAD_V, _BAD_SIGNATURE = b"\1\0", b"\1\1", b"\1\2"
"""`Err` of each kind, encoded."""


def recover(signature: bytes, digest: bytes, *, compressed: bool) -> bytes:
    """The encoded `Result<public key, EcdsaVerifyError>` for a signature r ‖ s ‖ v of a digest.

    v is 0 to 3, or 27 more. Points whose x overflows the group's order (v = 2, 3), of which
    nobody can make one on purpose, count as bad signatures.
    """
    recovery = signature[64] - 27 if signature[64] > 26 else signature[64]
    if recovery > 3:
        return _BAD_V
    try:
        parsed = Signature(signature[:64] + bytes((recovery & 1,)))
    except (BadSignature, ValidationError):
        return _BAD_RS
    if recovery > 1:
        return _BAD_SIGNATURE
    try:
        public = NativeECCBackend().ecdsa_recover(digest, parsed)
    except (BadSignature, ValidationError):
        return _BAD_SIGNATURE
    return b"\0" + (public.to_compressed_bytes() if compressed else public.to_bytes())
