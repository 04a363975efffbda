"""Makes tokens.json: a token of each algorithm, by PyJWT, with the key that checks it.

    pip install 'pyjwt[crypto]' && python3 make.py > tokens.json
"""

import json

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

CLAIMS = {"sub": "ann", "iss": "https://idp.example", "aud": ["mqtt", "other"], "exp": 4_000_000_000, "nbf": 1_600_000_000}

SECRET = "a secret of sixty-four bytes, which is enough for each of them.."
RSA = rsa.generate_private_key(65537, 2048)
KEYS = {
    "HS256": SECRET, "HS384": SECRET, "HS512": SECRET,
    "RS256": RSA, "RS384": RSA, "RS512": RSA, "PS256": RSA, "PS384": RSA, "PS512": RSA,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def public(key):
    pem = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key if isinstance(key, str) else key.public_key().public_bytes(*pem).decode()


def jwk(name, key):
    made = json.loads(jwt.get_algorithm_by_name(name).to_jwk(key if isinstance(key, str) else key.public_key()))
    return {**made, "kid": name, "alg": name}


print(json.dumps([
    {"alg": name, "key": public(key), "jwk": jwk(name, key), "token": jwt.encode(CLAIMS, key, name, {"kid": name})}
    for name, key in KEYS.items()
], indent=1))
