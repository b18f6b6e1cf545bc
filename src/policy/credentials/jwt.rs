//! Signed tokens (RFC 7519): whose signature is believed.
//!
//! Order of checks: first all that costs little ([`jws`](super::jws)), then the signature; nothing a token says is
//! handed on before both.

use super::jws::{ClaimRules, Claims, JwtFault, Parts};
use crate::config::{JwtAlgorithm, JwtSpec};

mod keys;
mod pem;

use keys::Check;
pub use keys::{KeySet, SetFault};

/// What makes a token good, and the keys it is signed by. When keys change, new rules take the place of these.
#[derive(Debug)]
pub struct JwtRules {
    algorithms: Vec<JwtAlgorithm>,
    claims: ClaimRules,
    keys: KeySet,
}

impl JwtRules {
    /// `keys`: made for the algorithms of `spec`; one that only they or only the keys have is good for nothing.
    pub fn new(spec: &JwtSpec, keys: KeySet) -> JwtRules {
        JwtRules { algorithms: spec.algorithms.clone(), claims: ClaimRules::new(spec), keys }
    }

    /// Whether there is any key.
    pub fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// What `token` says, if it is good at `unix_s`, seconds since 1970. From 1 us with HS256 over 20 us
    /// with RSA to 200 us with ES384; a stale token takes less than any.
    pub fn verify(&self, token: &[u8], unix_s: u64) -> Result<Claims, JwtFault> {
        let (parts, check, claims) = self.unverified(token, unix_s)?;
        match check.is_signature(parts.signed, &parts.signature()?) {
            true => Ok(claims),
            false => Err(JwtFault::BadSignature),
        }
    }

    /// When `token` expires, and whether its signature takes long to check, if all else about it is good. Nothing that
    /// it says may be believed yet.
    pub fn outlook(&self, token: &[u8], unix_s: u64) -> Result<(u64, bool), JwtFault> {
        let (_, check, claims) = self.unverified(token, unix_s)?;
        Ok((claims.expires, check.is_slow()))
    }

    fn unverified<'t>(
        &self,
        token: &'t [u8],
        unix_s: u64,
    ) -> Result<(Parts<'t>, &Check, Claims), JwtFault> {
        let parts = Parts::of(token)?;
        let header = parts.header(&self.algorithms)?;
        let check = self.keys.find(header.algorithm, header.kid.as_deref())?;
        let claims = self.claims.claims(&parts, unix_s)?;
        Ok((parts, check, claims))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{JwtKeys, Secret};
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    };
    use aws_lc_rs::{hmac, signature};
    use data_encoding::{BASE64, BASE64URL_NOPAD};
    use serde_json::{Value, json};
    use std::time::Duration;

    const NOW: u64 = 1_700_000_000;
    const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    /// `{"sub":"ada","exp":4102444800}`
    const ADA: &str = "eyJzdWIiOiJhZGEiLCJleHAiOjQxMDI0NDQ4MDB9";
    const PUBLIC: &[JwtAlgorithm] = &[
        JwtAlgorithm::Rs256,
        JwtAlgorithm::Rs384,
        JwtAlgorithm::Rs512,
        JwtAlgorithm::Ps256,
        JwtAlgorithm::Ps384,
        JwtAlgorithm::Ps512,
        JwtAlgorithm::Es256,
        JwtAlgorithm::Es384,
        JwtAlgorithm::EdDsa,
    ];
    const HS: &[JwtAlgorithm] = &[JwtAlgorithm::Hs256, JwtAlgorithm::Hs384, JwtAlgorithm::Hs512];

    const RSA: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA2yDnHitvVEAAqQgjY7PG
viT58TCM0gss7JRUMbRSPM2XLbONv3MFZx+ViF3ciLc2GKUEvOoqaylBQWSJnred
5iqrM3yX/6RmvgUCeX9FZya4NMWXHgHbfZVmrXhhdtMtdFtr5dL3QmyMECZlAHUY
IAzGMMm+cDubl2AqXg7d4fHeLLzeAJDzHw5RGG6IPaKZJi2s+89BF3eEbJ/BqlTi
t2NQDKvHX5L76niIEQWP7VYAGJIX6stKlpZ0Up+HlXzl6aK1ksdG1lkjGuJjYfrB
vtDH7KhRqZkAuTc6z7J3tgBJg2ABSzvDE4PmtkN7YFtB5CDJOtZOMlsA0qj0wGiK
vwIDAQAB
-----END PUBLIC KEY-----";
    const SHORT_RSA: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDN5GGlVLNoT1aAawryjnV02Ce8
0ORX7r7ztHBLfKFP4g3s9XJbh9ERY1R9egoAT8GNbyWCXYfMeHpZVt+TOSeX/Tsg
rSKjLGpdUuVbiE5vSt6lnB+wrGf+cniNke/9Zvrk10niIcfyVCadiqxWEeueWhuh
AknE7yhAV6sI8cUMZQIDAQAB
-----END PUBLIC KEY-----";
    const P256: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE7YHJ/5Q/PIpSX2c3QcXcuCHvACSa
p0BJcoSB+uQEQuhv76zoVTLDRWVlYNAhtIMhlsW819Q8agn+SK9d6pYWUA==
-----END PUBLIC KEY-----";
    const P384: &str = "\
-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAESVlvDKH1pSk8iQ66Hi8BKRozCcmenYvy
ZweSIT9NxIlIHokBDA0h1ipu7XAux059s3gdebAqZrNOse5MHMVUzNRuBom1pOkJ
0QpcK2LeqS8XAHEjdHG4AnwE3Pizfj/H
-----END PUBLIC KEY-----";
    const ED25519: &str = "\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAng/KrdKUkg258Tob++9r7MuokDql5EMKXrNmEFrp6cU=
-----END PUBLIC KEY-----";

    /// Signatures by OpenSSL over `{"alg":...}` and [`ADA`].
    const SIGNED: [(JwtAlgorithm, &str, &str); 9] = [
        (
            JwtAlgorithm::Rs256,
            RSA,
            "q1wLfJDFcJ_29uYJNpCFIlpFFXZukd4xJ9lGDj5-\
             _XtLQAcB50mk7KSGLN_HoxxdretmhVcRst6REKJRyVz9v0MX03utOaRZDrl_HPAp1L6LKSg95BBbgY8PvzU\
             LBUTJiNUTTWBmNAwqIt0EgODDFEH-lmBZ9yMH53KLDs6qqAWas-QI4lqHTkLR6fjvRR9hjD_UpC9pQi4teO\
             PDBM8Qok3wWv7YAhqwLS7CJRE0Sjo6Y1KZu9EHZAKuwTgpDPzMooPbktN2hyLlBepxZrQQtV_F0sEaNDyAQ\
             Kw_GmWWEYoRqhOiBUOprGezRidlClgWc2DDPPttT5ZAwsKFWjvtGQ",
        ),
        (
            JwtAlgorithm::Rs384,
            RSA,
            "WmqX73_2OgpDNhUU50QIOJGdsImNoLbJ7x5h5EYWOYpAFMIJqT-\
             i5Wib7ptlfFy1Za1nbIOFx3B3NzmrrfHnkr3tNL4edG-\
             psAWLuC4hkSzBZV05x22rRHUGyFNxGo3SNc52Zo-JgqCarArNvMHX3yArmP7UsOp3q684uKVW4wWk_MlHvf\
             TzRz7nI0KTLt66-EZpCD0p0zL-7HjQ8T0-\
             XRmyifXkFgLOi9Tvx52EtcrCkRIKcyLf1jQsmTO_VjyX6PGbHKrNirCMMwhcAqQV76XHe728UmdZ26Fvobg\
             VBnBGqBkPdvfOgw2pCBc09_ghLaLHl-FpA_TkEet1qKlSfg",
        ),
        (
            JwtAlgorithm::Rs512,
            RSA,
            "F2H_1cgU3cspdbXTsbthrfTJ-3PhoQ-MWyBYTHlO1Iea4NJrTSikZQOsecdTZyTbHewwJBZe-scpyGSbkNR\
             TNRpd2Pj2tOsrRTc0L9rhNcpm8gNKMyv5mZyeBrEfgzjnp0GBDVH6VpAHVqGRS9B4LDFXnDiYDIULeQXccJ\
             TyB7w0gm7BoMEV2Yfg8TW-wYfgNRjZEoKUSlfS3LhwOTNITDEJJiWMW3tSQSzPNxiDwBoPRfZySHruHLk_I\
             yub8A3jcpY7OT0BVH9uBTpezQZU5uuaE6VI4bqkjdLV5_wvUqibpAtTuGhrKgff1PBmN4bZnV2cag4lAoRC\
             mn2afeWWlA",
        ),
        (
            JwtAlgorithm::Ps256,
            RSA,
            "sRByNR8jrGziX4AsTi7TvdETYfpWABlSGxdzlTXE3Md6tyHeekUwEAep8oMAQhfTXIMuheav7-5-\
             LTbXcOXVhGW1V5MfKVa_TPk6vuD-oY86cKEM4cGQ1xd4DMrpaBq8pOI9oquHvCqYCNehZ4RNFLNAwQ874ry\
             YoXXdeO5_wvVga_RRKZS8Fxb17hNgkvhtLhSDeWo_jJGvgqcPNxktz0rtRlVZl6ZRioJPmz5MG2WE2UI4lB\
             f0g14YAOrlZXXk1Y0N7qPZ1dA-4csMpDs7LXMG6k-hmgnGpT6Iqmcig5EqJOAi86c1MLGgM-\
             8rHKzTr4rdZdTPFy0pKeKv6Rh_mA",
        ),
        (
            JwtAlgorithm::Ps384,
            RSA,
            "kCcwWWp-SGU83Mo-VjRneHlPLFnXOjXhi3mwpAQRESE_RUh55rsfzt9XnuBxtQ6NsjnFVuJT7jDNY2ZJyXx\
             zTQ9ifq3aIprkAoOQDxkhKJL7OmUW0WHyCduDXwMsTmoXa2MskqxoF5eQKOlYIkdvoecxlVKQRy_n6dRE0Y\
             Q_WoR0n5tF6YAy9fguV-ajFOZwMKtG9GcTFgR16HgFFe6ExN0dRbYJzmB2f5-\
             hiNQ1txwr6fnVdkYQO7hOo3Ti2CXoCRaqf44vFZWdxDtWP0mouATTphdx8vh6sRFuQuflMBAtX4MLA1xDAn\
             cVVIoN6mJzBnfpBQmlV87nIf2rgSe_QQ",
        ),
        (
            JwtAlgorithm::Ps512,
            RSA,
            "AuSX28z_autyXtl2sW_RUOQhjROycMjrI23N63-\
             ubzyLQtFS98eFEFbA2gEFWhZQnLNFdjtjJJhh5zySWtKyxjYltA_NzqaYIlHkg11Uo8-\
             Otc5kadD48XTImQa3UGjKBd2V537A7twQHH69n6KosShCTk5r_oH2ZYClhIeHsUTLdZv9jAgInZbffZrS-\
             Gjga6-zxGNz-NmSDQcNOeD1VACLxAfNUhIQVfcvb-\
             LzcRRTCu75tUaYrhz1NwPved4fK4kh_JwICxMLw2P9-mIzuQSo--\
             CT0yOH_qoIjobspoA0300_hoFhpqGGn2f8Z36QQhed4o4oQrhdMLOVJnbswA",
        ),
        (
            JwtAlgorithm::Es256,
            P256,
            "fxD598f7UfXO7tKKyb_JMX_x9URlpXx8UvOBMcLcE3nxeFyhd1a25faSn4Je12KR42jFoEq0pwnxV-\
             qcFSMKZg",
        ),
        (
            JwtAlgorithm::Es384,
            P384,
            "EOicaz7P9W0xre9aPGN0W8qcKoTtfcYUNTwRokX4ChcsUlb-\
             A2u9oTw8Tf3qF_bi1s4OrTzo_VRTHSb4tpnkqC2u5A24Xdlk74iDxqle9b4HxERO8_EgBop48V-sXS7Q",
        ),
        (
            JwtAlgorithm::EdDsa,
            ED25519,
            "S-tEDQyDzx0t8sm5DI7TqacDBSxXCnPmzEdm21rVfr6Epq7qfz_RT0g3T-\
             zLmRptBW1RAhcWMmFinfEDTwVbDA",
        ),
    ];

    fn rules(algorithms: &[JwtAlgorithm], keys: KeySet) -> JwtRules {
        let spec = JwtSpec {
            keys: JwtKeys::Key(Secret::new("", Secret::MASK)),
            algorithms: algorithms.to_vec(),
            issuer: vec![],
            audience: vec![],
            leeway: Duration::from_secs(60),
            role: Some("roles".to_owned()),
            forward: vec![("X-User".to_owned(), "sub".to_owned())],
        };
        JwtRules::new(&spec, keys)
    }

    fn rules_of_text(algorithms: &[JwtAlgorithm], text: &str) -> JwtRules {
        rules(algorithms, KeySet::of_pem_or_secret(text, algorithms).unwrap())
    }

    fn rules_of_set(algorithms: &[JwtAlgorithm], keys: &Value) -> JwtRules {
        let set = json!({ "keys": keys }).to_string();
        rules(algorithms, KeySet::of_jwks(set.as_bytes(), algorithms).unwrap())
    }

    fn encoded(octets: impl AsRef<[u8]>) -> String {
        BASE64URL_NOPAD.encode(octets.as_ref())
    }

    /// A token with this header and these claims, signed by `sign`.
    fn token(header: &Value, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
        let signed = format!("{}.{claims}", encoded(header.to_string()));
        format!("{signed}.{}", encoded(sign(signed.as_bytes())))
    }

    fn mac(algorithm: hmac::Algorithm, secret: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
        let key = hmac::Key::new(algorithm, secret);
        move |message| hmac::sign(&key, message).as_ref().to_vec()
    }

    fn fault(rules: &JwtRules, token: &str) -> Option<JwtFault> {
        rules.verify(token.as_bytes(), NOW).err()
    }

    /// A pair of keys of Ed25519, and the public one as JWK.
    fn ed25519(kid: &str) -> (Ed25519KeyPair, Value) {
        let pair = Ed25519KeyPair::generate().unwrap();
        let x = encoded(pair.public_key());
        (pair, json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x }))
    }

    /// The same of P-256.
    fn p256(kid: &str) -> (EcdsaKeyPair, Value) {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = (encoded(&point[1..33]), encoded(&point[33..]));
        (pair, json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y }))
    }

    fn by_ed25519(pair: &Ed25519KeyPair) -> impl Fn(&[u8]) -> Vec<u8> {
        |message| pair.sign(message).as_ref().to_vec()
    }

    fn by_p256(pair: &EcdsaKeyPair) -> impl Fn(&[u8]) -> Vec<u8> {
        |message| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    #[test]
    fn what_openssl_signed_is_believed_and_not_one_bit_else() {
        for (algorithm, key, signature) in SIGNED {
            let header = encoded(format!("{{\"alg\":\"{}\"}}", algorithm.name()));
            let good = format!("{header}.{ADA}.{signature}");
            for list in [&[algorithm][..], PUBLIC] {
                let rules = rules_of_text(list, key);
                let claims = rules.verify(good.as_bytes(), NOW).unwrap();
                assert_eq!((claims.subject.as_deref(), claims.expires), (Some("ada"), 4102444800));
                assert_eq!(claims.forward, [("X-User".to_owned(), "ada".to_owned())]);
            }
            let rules = rules_of_text(PUBLIC, key);
            let octets = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
            for bit in (0..octets.len() * 8).step_by(octets.len() / 8 + 1) {
                let mut octets = octets.clone();
                octets[bit / 8] ^= 1 << (bit % 8);
                let bad = format!("{header}.{ADA}.{}", encoded(octets));
                assert_eq!(fault(&rules, &bad), Some(JwtFault::BadSignature), "bit {bit}");
            }
            for (octets, what) in [
                (&octets[..octets.len() - 1], "short"),
                (&[&octets[..], b"\0"].concat(), "long"),
                (&[], "empty"),
                (&vec![0; octets.len()], "zeros"),
                (&vec![0xff; octets.len()], "ones"),
            ] {
                let bad = format!("{header}.{ADA}.{}", encoded(octets));
                assert_eq!(fault(&rules, &bad), Some(JwtFault::BadSignature), "{what}");
            }
            let other = encoded("{\"sub\":\"bob\",\"exp\":4102444800}");
            let bad = good.replace(ADA, &other);
            assert_eq!(fault(&rules, &bad), Some(JwtFault::BadSignature));
            // The same signature, said to be of another algorithm.
            for other in PUBLIC.iter().filter(|other| **other != algorithm) {
                let header = encoded(format!("{{\"alg\":\"{}\"}}", other.name()));
                let found = fault(&rules, &format!("{header}.{ADA}.{signature}")).unwrap();
                let expected = [JwtFault::BadSignature, JwtFault::WrongAlgorithm];
                assert!(expected.contains(&found), "{algorithm:?} {other:?}: {found:?}");
            }
        }
    }

    /// RFC 7515 appendices A.1 and A.3.
    #[test]
    fn the_examples_of_the_rfc_are_good() {
        let claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
                      cGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        for (algorithm, jwk, header, signature) in [
            (
                JwtAlgorithm::Hs256,
                json!({ "kty": "oct", "k": secret }),
                "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
                "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            ),
            (
                JwtAlgorithm::Es256,
                json!({
                    "kty": "EC",
                    "crv": "P-256",
                    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
                }),
                "eyJhbGciOiJFUzI1NiJ9",
                "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-\
                 Kg6NU1Q",
            ),
        ] {
            let rules = rules_of_set(&[algorithm], &json!([jwk]));
            let token = format!("{header}.{claims}.{signature}");
            assert_eq!(
                rules.verify(token.as_bytes(), 1_300_819_379).unwrap().expires,
                1_300_819_380
            );
            let late = rules.verify(token.as_bytes(), 1_300_819_440);
            assert_eq!(late, Err(JwtFault::Expired));
        }
    }

    #[test]
    fn secrets_sign_with_their_own_hash() {
        let rules = rules_of_text(HS, SECRET);
        let all = [
            ("HS256", hmac::HMAC_SHA256),
            ("HS384", hmac::HMAC_SHA384),
            ("HS512", hmac::HMAC_SHA512),
        ];
        for (name, algorithm) in all {
            let sign = mac(algorithm, SECRET.as_bytes());
            let good = token(&json!({ "alg": name, "typ": "JWT", "kid": "any" }), ADA, &sign);
            assert_eq!(fault(&rules, &good), None, "{name}");
            for (other, _) in all.iter().filter(|(other, _)| *other != name) {
                let bad = token(&json!({ "alg": other }), ADA, &sign);
                assert_eq!(fault(&rules, &bad), Some(JwtFault::BadSignature));
            }
            let bad = token(&json!({ "alg": name }), ADA, mac(algorithm, b"another"));
            assert_eq!(fault(&rules, &bad), Some(JwtFault::BadSignature));
            let short = |message: &[u8]| sign(message)[..16].to_vec();
            let bad = token(&json!({ "alg": name }), ADA, short);
            assert_eq!(fault(&rules, &bad), Some(JwtFault::BadSignature));
        }
        let hs256 = rules_of_text(&HS[..1], SECRET);
        let hs512 = token(&json!({ "alg": "HS512" }), ADA, mac(all[2].1, SECRET.as_bytes()));
        assert_eq!(fault(&hs256, &hs512), Some(JwtFault::WrongAlgorithm));
    }

    #[test]
    fn a_public_key_is_no_secret_and_no_signature_is_none() {
        for (_, key, _) in SIGNED {
            let rules = rules_of_text(PUBLIC, key);
            for name in ["HS256", "HS384", "HS512"] {
                for secret in [key, &format!("{key}\n"), key.trim_matches('-')] {
                    let bad = token(
                        &json!({ "alg": name }),
                        ADA,
                        mac(hmac::HMAC_SHA256, secret.as_bytes()),
                    );
                    assert_eq!(fault(&rules, &bad), Some(JwtFault::WrongAlgorithm));
                }
            }
            for name in ["none", "None", "NONE", "nOnE", "none ", ""] {
                for signature in ["", "AA"] {
                    let header = encoded(json!({ "alg": name }).to_string());
                    let bad = format!("{header}.{ADA}.{signature}");
                    assert_eq!(fault(&rules, &bad), Some(JwtFault::WrongAlgorithm));
                }
            }
        }
        // Nor can a configuration be made to say so.
        let mixed = [JwtAlgorithm::Hs256, JwtAlgorithm::Rs256];
        assert!(KeySet::of_pem_or_secret(RSA, &mixed).is_err());
        assert!(KeySet::of_pem_or_secret(RSA, HS).unwrap_err().contains("PEM"));
        assert!(KeySet::of_jwks(b"{\"keys\":[]}", &mixed).is_err());
    }

    #[test]
    fn the_kid_picks_the_key() {
        let (one, jwk_one) = ed25519("one");
        let (two, jwk_two) = ed25519("two");
        let (three, jwk_three) = p256("three");
        let algorithms = &[JwtAlgorithm::EdDsa, JwtAlgorithm::Es256];
        let rules = rules_of_set(algorithms, &json!([jwk_one, jwk_two, jwk_three]));
        assert_eq!(format!("{:?}", rules.keys), "[Some(\"one\"), Some(\"two\"), Some(\"three\")]");
        let ed = |header: Value| token(&header, ADA, by_ed25519(&one));
        let long = "k".repeat(3000);
        for (header, expected) in [
            (json!({ "alg": "EdDSA", "kid": "one" }), None),
            (json!({ "alg": "EdDSA", "kid": "two" }), Some(JwtFault::BadSignature)),
            (json!({ "alg": "EdDSA", "kid": "three" }), Some(JwtFault::WrongAlgorithm)),
            (json!({ "alg": "ES256", "kid": "one" }), Some(JwtFault::WrongAlgorithm)),
            (json!({ "alg": "ES256", "kid": "three" }), Some(JwtFault::BadSignature)),
            (json!({ "alg": "EdDSA" }), Some(JwtFault::UnknownKey)),
            (json!({ "alg": "EdDSA", "kid": "" }), Some(JwtFault::UnknownKey)),
            (json!({ "alg": "EdDSA", "kid": "One" }), Some(JwtFault::UnknownKey)),
            (json!({ "alg": "EdDSA", "kid": "one\0" }), Some(JwtFault::UnknownKey)),
            (json!({ "alg": "EdDSA", "kid": "../one" }), Some(JwtFault::UnknownKey)),
            (json!({ "alg": "EdDSA", "kid": "' or 1=1" }), Some(JwtFault::UnknownKey)),
            (json!({ "alg": "EdDSA", "kid": long }), Some(JwtFault::UnknownKey)),
            (json!({ "alg": "EdDSA", "kid": 1 }), Some(JwtFault::Malformed)),
            (json!({ "alg": "EdDSA", "kid": ["one"] }), Some(JwtFault::Malformed)),
            (
                json!({ "alg": "EdDSA", "kid": "one", "crit": ["x"] }),
                Some(JwtFault::CriticalHeader),
            ),
        ] {
            assert_eq!(fault(&rules, &ed(header.clone())), expected, "{header}");
        }
        let by_two = token(&json!({ "alg": "EdDSA", "kid": "two" }), ADA, by_ed25519(&two));
        assert_eq!(fault(&rules, &by_two), None);
        // Only one fits ES256.
        let by_three = token(&json!({ "alg": "ES256" }), ADA, by_p256(&three));
        assert_eq!(fault(&rules, &by_three), None);
    }

    #[test]
    fn a_token_brings_no_key_along() {
        let (_, jwk) = ed25519("one");
        let (own, mut own_jwk) = ed25519("one");
        let rules = rules_of_set(&[JwtAlgorithm::EdDsa], &json!([jwk]));
        for (name, value) in [
            ("jwk", own_jwk.clone()),
            ("jku", json!("http://127.0.0.1/jwks")),
            ("x5u", json!("http://127.0.0.1/cert")),
            ("x5c", json!(["MAA="])),
        ] {
            let header = json!({ "alg": "EdDSA", "kid": "one", name: value });
            let bad = token(&header, ADA, by_ed25519(&own));
            assert_eq!(fault(&rules, &bad), Some(JwtFault::BadSignature), "{name}");
        }
        own_jwk["kid"] = json!("mine");
        let header = json!({ "alg": "EdDSA", "kid": "mine", "jwk": own_jwk });
        let bad = token(&header, ADA, by_ed25519(&own));
        assert_eq!(fault(&rules, &bad), Some(JwtFault::UnknownKey));
    }

    #[test]
    fn what_is_cheap_is_checked_first() {
        let rules = rules_of_text(&HS[..1], SECRET);
        for (claims, expected) in [
            ("{\"exp\":1}", JwtFault::Expired),
            ("{\"exp\":4102444800,\"nbf\":4102444700}", JwtFault::NotYet),
            ("{}", JwtFault::Malformed),
            ("{\"exp\":4102444800}", JwtFault::BadSignature),
        ] {
            let bad = token(&json!({ "alg": "HS256" }), &encoded(claims), |_| vec![0; 32]);
            assert_eq!(fault(&rules, &bad), Some(expected), "{claims}");
        }
        let long = encoded(format!("{{\"exp\":4102444800,\"x\":\"{}\"}}", "x".repeat(8000)));
        let sign = mac(hmac::HMAC_SHA256, SECRET.as_bytes());
        let bad = token(&json!({ "alg": "HS256" }), &long, sign);
        assert_eq!(fault(&rules, &bad), Some(JwtFault::TooLong));
    }

    #[test]
    fn a_set_has_the_keys_that_fit() {
        let (_, ed) = ed25519("ed");
        let (_, ec) = p256("ec");
        let rsa = {
            let der = pem::public_key(RSA).unwrap();
            // The modulus stands behind 33 octets of structure; 65537 stands at the end.
            json!({ "kty": "RSA", "kid": "rsa", "n": encoded(&der[33..289]), "e": "AQAB" })
        };
        let with = |jwk: &Value, name: &str, value: Value| {
            let mut jwk = jwk.clone();
            jwk[name] = value;
            jwk
        };
        let oct = json!({ "kty": "oct", "kid": "oct", "k": encoded(&SECRET[..32]) });
        for (keys, algorithms, expected) in [
            (json!([ed, ec, rsa]), PUBLIC, Some(3)),
            (json!([ed, ec, rsa, oct]), PUBLIC, Some(3)),
            (json!([ed, ec, rsa, oct]), &HS[..1], Some(1)),
            (json!([oct]), &HS[1..], None),
            (json!([with(&oct, "k", json!("AAAA"))]), HS, None),
            (json!([ed, ec, rsa]), &[JwtAlgorithm::Es256], Some(1)),
            (json!([ed, ec]), &[JwtAlgorithm::Rs256], None),
            (json!([with(&ed, "kty", json!("AKP")), ec]), PUBLIC, Some(1)),
            (json!([with(&ed, "crv", json!("Ed448")), ec]), PUBLIC, Some(1)),
            (json!([with(&ed, "use", json!("enc")), ec]), PUBLIC, Some(1)),
            (json!([with(&ed, "use", json!("sig")), ec]), PUBLIC, Some(2)),
            (json!([with(&ed, "key_ops", json!(["sign"])), ec]), PUBLIC, Some(1)),
            (json!([with(&ed, "key_ops", json!(["verify"])), ec]), PUBLIC, Some(2)),
            (json!([with(&rsa, "alg", json!("RS256")), ec]), PUBLIC, Some(2)),
            (json!([with(&rsa, "alg", json!("RSA-OAEP")), ec]), PUBLIC, Some(1)),
            (json!([with(&rsa, "alg", json!("ES256")), ec]), PUBLIC, Some(1)),
            (json!([with(&rsa, "alg", json!("HS256"))]), HS, None),
            (json!([with(&rsa, "e", json!("AQ")), ec]), PUBLIC, Some(1)),
            (json!([with(&rsa, "e", json!("Ag")), ec]), PUBLIC, Some(1)),
            (json!([with(&rsa, "e", json!("AQAB=")), ec]), PUBLIC, Some(1)),
            (json!([with(&rsa, "n", json!("AQAB")), ec]), PUBLIC, Some(1)),
            (json!([with(&ed, "x", json!("AAAA")), ec]), PUBLIC, Some(1)),
            (json!([with(&ec, "x", ec["y"].clone()), ed]), PUBLIC, Some(1)),
            (json!([with(&ec, "crv", json!("P-384")), ed]), PUBLIC, Some(1)),
            (json!([with(&ed, "kid", json!(1)), ec]), PUBLIC, Some(1)),
            (json!([1, "x", null, [], {}, ec]), PUBLIC, Some(1)),
            (json!([]), PUBLIC, None),
            (json!({}), PUBLIC, None),
            // The same name: once for each algorithm, or else nobody knows which.
            (json!([ed, with(&ec, "kid", json!("ed"))]), PUBLIC, Some(2)),
            (json!([ed, ed]), PUBLIC, None),
            (json!([rsa, with(&rsa, "alg", json!("RS256"))]), PUBLIC, None),
            (json!(vec![with(&ed, "use", json!("enc")); 101]), PUBLIC, None),
        ] {
            let set = json!({ "keys": keys, "more": 1 }).to_string();
            let found = KeySet::of_jwks(set.as_bytes(), algorithms).map(|set| set.len());
            assert_eq!(found.as_ref().ok().copied(), expected, "{keys} {algorithms:?} {found:?}");
        }
        for bad in ["", "[]", "{}", "{\"keys\":[],\"keys\":[]}", "{\"keys\":1}", "null"] {
            assert!(KeySet::of_jwks(bad.as_bytes(), PUBLIC).is_err(), "{bad}");
        }
        let big = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(256 * 1024));
        assert!(
            KeySet::of_jwks(big.as_bytes(), PUBLIC).unwrap_err().to_string().contains("256 KiB")
        );
        let rules = rules_of_set(PUBLIC, &json!([rsa]));
        let (_, _, signature) = SIGNED[0];
        let good = format!("{}.{ADA}.{signature}", encoded("{\"alg\":\"RS256\"}"));
        assert_eq!(fault(&rules, &good), None);
    }

    #[test]
    fn a_key_that_does_not_do_is_told() {
        for (text, algorithms, why) in [
            (&SECRET[..31], &HS[..1], "at least 32"),
            (&SECRET[..47], &HS[..2], "48 for HS384"),
            (&SECRET[..63], HS, "64 for HS512"),
            ("", HS, "at least 32"),
            (SECRET, PUBLIC, "BEGIN PUBLIC KEY"),
            (SHORT_RSA, PUBLIC, "2048"),
            (RSA, &[JwtAlgorithm::Es256], "one of RSA"),
            (P256, &[JwtAlgorithm::Es384, JwtAlgorithm::Rs256], "one of P-256"),
            (ED25519, &[JwtAlgorithm::Es256], "one of Ed25519"),
            (RSA, &[], "no algorithm"),
        ] {
            let told = KeySet::of_pem_or_secret(text, algorithms).unwrap_err();
            assert!(told.contains(why), "{told}");
            assert!(text.len() < 8 || !told.contains(&text[text.len() / 2..]), "{told}");
        }
        let set = KeySet::of_pem_or_secret(SECRET, HS).unwrap();
        assert_eq!(
            (format!("{set:?}"), set.len(), set.is_empty()),
            ("[None]".to_owned(), 1, false)
        );
    }

    /// Another encoding of what is signed for keys made here: the PEM of a pair is read as that pair.
    #[test]
    fn keys_made_now_are_read_as_pem() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let der = pair.public_key().as_der().unwrap();
        let body = BASE64.encode(der.as_ref());
        let key = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----");
        let rules = rules_of_text(&[JwtAlgorithm::Es256], &key);
        let claims = "{\"exp\":4102444800,\"roles\":[\"a\",\"b\"]}";
        let good = token(&json!({ "alg": "ES256" }), &encoded(claims), by_p256(&pair));
        assert_eq!(rules.verify(good.as_bytes(), NOW).unwrap().roles, ["a", "b"]);
        // DER is the other form of a signature of ECDSA, and not that of tokens (RFC 7518 section 3.4).
        let pkcs8 = pair.to_pkcs8v1().unwrap();
        let other =
            EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref());
        let bad = token(&json!({ "alg": "ES256" }), ADA, by_p256(&other.unwrap()));
        assert_eq!(fault(&rules, &bad), Some(JwtFault::BadSignature));
    }

    #[test]
    #[ignore = "a measurement: run it in release"]
    #[expect(clippy::disallowed_methods, reason = "a test has no core whose clock it could ask")]
    fn what_a_token_takes() {
        let measure = |name: &str, rules: &JwtRules, token: &str| {
            let begin = std::time::Instant::now();
            let good = (0..2000).filter(|_| fault(rules, token).is_none()).count();
            eprintln!("{name}: {:.1} us ({good})", begin.elapsed().as_secs_f64() * 500.0);
        };
        let hs256 =
            token(&json!({ "alg": "HS256" }), ADA, mac(hmac::HMAC_SHA256, SECRET.as_bytes()));
        measure("HS256", &rules_of_text(HS, SECRET), &hs256);
        for (algorithm, key, signature) in SIGNED {
            let header = encoded(format!("{{\"alg\":\"{}\"}}", algorithm.name()));
            let token = format!("{header}.{ADA}.{signature}");
            measure(algorithm.name(), &rules_of_text(PUBLIC, key), &token);
        }
        let stale = encoded("{\"sub\":\"ada\",\"exp\":1}");
        measure("stale", &rules_of_text(HS, SECRET), &hs256.replace(ADA, &stale));
    }
}
