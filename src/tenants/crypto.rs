//! How tenants' secrets are kept in the control database. Pure but for the
//! randomness of what is written.
//!
//! There are two forms, both those of Supabase Realtime. `g1:` and base64 of a
//! 12-byte IV, a 16-byte tag and the text under AES-256-GCM; and bare base64 of
//! the padded text under AES-128-ECB, which hides less (equal texts look equal)
//! and tells no forgery. Either is read with its key; new ones are written as
//! GCM if there is a key for it. Clear text leaves here as [`Secret`] only.

use std::fmt;

use aes::{
    Aes128, Block,
    cipher::{BlockDecrypt as _, BlockEncrypt as _, KeyInit as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom as _, SystemRandom},
};

use crate::secret::Secret;

/// What a text under AES-256-GCM begins with; `:` is not in base64.
const GCM: &str = "g1:";
const TAG: usize = 16;
const BLOCK: usize = 16;

/// Why keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A key of the wrong length.
    #[error("{name} has {found} bytes, but must have {wanted}")]
    Length {
        /// The setting.
        name: &'static str,
        /// Its length.
        found: usize,
        /// The right one.
        wanted: usize,
    },
    /// No key to write with.
    #[error("{0}")]
    Missing(&'static str),
}

/// Why a secret can be neither read nor written. Never says what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// It was written with a key that is not set here.
    #[error("{0} is not set")]
    NoKey(&'static str),
    /// Another key wrote it, or it is damaged.
    #[error("not written with this {0}")]
    Wrong(&'static str),
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

/// The keys, ready for use.
pub struct Vault {
    ecb: Option<Aes128>,
    gcm: Option<LessSafeKey>,
    writes_gcm: bool,
    random: SystemRandom,
}

impl Vault {
    /// Keys as the settings have them: `ecb` is `DB_ENC_KEY`, `gcm`
    /// `DB_ENC_KEY_GCM`, `write_gcm` `DB_ENC_WRITE_GCM`. Without the last, GCM is
    /// written if there is a key for it; asking for it without one changes nothing.
    ///
    /// # Errors
    ///
    /// A key has the wrong length, or there is none to write with.
    pub fn new(
        ecb: Option<&Secret>,
        gcm: Option<&Secret>,
        write_gcm: Option<bool>,
    ) -> Result<Self, KeyError> {
        let ecb = ecb.map(|key| bytes::<BLOCK>(key, "DB_ENC_KEY")).transpose()?;
        let ecb = ecb.map(|key| Aes128::new(&key.into()));
        let gcm = gcm.map(|key| bytes::<32>(key, "DB_ENC_KEY_GCM")).transpose()?;
        let gcm =
            gcm.and_then(|key| UnboundKey::new(&AES_256_GCM, &key).ok()).map(LessSafeKey::new);
        let writes_gcm = gcm.is_some() && write_gcm != Some(false);
        if !writes_gcm && ecb.is_none() {
            return Err(KeyError::Missing(match gcm {
                Some(_) => "DB_ENC_WRITE_GCM=false needs DB_ENC_KEY to write with",
                None => {
                    "DB_ENC_KEY_GCM or DB_ENC_KEY must be set: secrets of tenants are encrypted"
                }
            }));
        }
        Ok(Self { ecb, gcm, writes_gcm, random: SystemRandom::new() })
    }

    /// Whether [`Vault::seal`] uses AES-256-GCM.
    pub fn writes_gcm(&self) -> bool {
        self.writes_gcm
    }

    /// Encrypts `text`.
    ///
    /// # Errors
    ///
    /// There are no random numbers.
    pub fn seal(&self, text: &str) -> Result<String, CryptoError> {
        match (&self.gcm, &self.ecb) {
            (Some(key), _) if self.writes_gcm => self.seal_gcm(key, text),
            (_, Some(key)) => Ok(seal_ecb(key, text)),
            (_, None) => Err(CryptoError::NoKey("DB_ENC_KEY")),
        }
    }

    /// Reads what [`Vault::seal`], or Supabase Realtime, wrote.
    ///
    /// # Errors
    ///
    /// The key is missing or another one.
    pub fn open(&self, sealed: &str) -> Result<Secret, CryptoError> {
        let (name, text) = if let Some(rest) = sealed.strip_prefix(GCM) {
            let name = "DB_ENC_KEY_GCM";
            (name, open_gcm(self.gcm.as_ref().ok_or(CryptoError::NoKey(name))?, rest))
        } else {
            let name = "DB_ENC_KEY";
            (name, open_ecb(self.ecb.as_ref().ok_or(CryptoError::NoKey(name))?, sealed))
        };
        let text = text.and_then(|text| String::from_utf8(text).ok());
        text.map(Secret::new).ok_or(CryptoError::Wrong(name))
    }

    fn seal_gcm(&self, key: &LessSafeKey, text: &str) -> Result<String, CryptoError> {
        let mut iv = [0; NONCE_LEN];
        self.random.fill(&mut iv).map_err(|_| CryptoError::NoRandomness)?;
        let mut body = text.as_bytes().to_vec();
        let tag = key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(iv), Aad::empty(), &mut body)
            .map_err(|_| CryptoError::Wrong("DB_ENC_KEY_GCM"))?;
        let sealed = [iv.as_slice(), tag.as_ref(), &body].concat();
        Ok(format!("{GCM}{}", STANDARD.encode(sealed)))
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("writes_gcm", &self.writes_gcm).finish_non_exhaustive()
    }
}

fn bytes<const N: usize>(key: &Secret, name: &'static str) -> Result<[u8; N], KeyError> {
    let key = key.expose().as_bytes();
    key.try_into().map_err(|_| KeyError::Length { name, found: key.len(), wanted: N })
}

fn open_gcm(key: &LessSafeKey, text: &str) -> Option<Vec<u8>> {
    let sealed = STANDARD.decode(text).ok()?;
    let (iv, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let (tag, body) = rest.split_first_chunk::<TAG>()?;
    // The library wants the tag at the end.
    let mut joined = [body, tag].concat();
    let nonce = Nonce::assume_unique_for_key(*iv);
    key.open_in_place(nonce, Aad::empty(), &mut joined).ok().map(|text| text.to_vec())
}

fn seal_ecb(key: &Aes128, text: &str) -> String {
    let mut body = text.as_bytes().to_vec();
    let missing = BLOCK - body.len() % BLOCK;
    // From 1 to 16.
    body.resize(body.len() + missing, u8::try_from(missing).unwrap_or_default());
    let (blocks, _) = body.as_chunks_mut::<BLOCK>();
    for block in blocks {
        let mut one = Block::from(*block);
        key.encrypt_block(&mut one);
        *block = one.into();
    }
    STANDARD.encode(body)
}

fn open_ecb(key: &Aes128, text: &str) -> Option<Vec<u8>> {
    let mut body = STANDARD.decode(text).ok()?;
    let (blocks, rest) = body.as_chunks_mut::<BLOCK>();
    if !rest.is_empty() {
        return None;
    }
    for block in blocks {
        let mut one = Block::from(*block);
        key.decrypt_block(&mut one);
        *block = one.into();
    }
    let missing = usize::from(*body.last()?);
    let length = body.len().checked_sub(missing)?;
    let padding = body.get(length..)?;
    let is_padding =
        (1..=BLOCK).contains(&missing) && padding.iter().all(|byte| usize::from(*byte) == missing);
    body.truncate(length);
    is_padding.then_some(body)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> Secret {
        Secret::new(text)
    }

    fn ecb() -> Option<Secret> {
        Some(key("1234567890123456"))
    }

    fn gcm() -> Option<Secret> {
        Some(key("12345678901234567890123456789012"))
    }

    fn vault(ecb: Option<&Secret>, gcm: Option<&Secret>, write_gcm: Option<bool>) -> Vault {
        Vault::new(ecb, gcm, write_gcm).unwrap()
    }

    #[test]
    fn gcm_is_written_if_it_can_be_and_is_not_forbidden() {
        let writes = |ecb: Option<Secret>, gcm: Option<Secret>, write| {
            Vault::new(ecb.as_ref(), gcm.as_ref(), write).map(|vault| vault.writes_gcm())
        };
        assert_eq!(writes(ecb(), gcm(), None), Ok(true));
        assert_eq!(writes(None, gcm(), None), Ok(true));
        assert_eq!(writes(ecb(), gcm(), Some(false)), Ok(false));
        assert_eq!(writes(ecb(), None, Some(true)), Ok(false));
        assert!(matches!(writes(None, gcm(), Some(false)), Err(KeyError::Missing(_))));
        assert!(matches!(writes(None, None, None), Err(KeyError::Missing(_))));
    }

    #[test]
    fn a_key_of_the_wrong_length_is_refused_by_name() {
        let short = key("short");
        let error = Vault::new(ecb().as_ref(), Some(&short), None).unwrap_err();
        assert_eq!(error.to_string(), "DB_ENC_KEY_GCM has 5 bytes, but must have 32");
        let error = Vault::new(gcm().as_ref(), None, None).unwrap_err();
        assert_eq!(error.to_string(), "DB_ENC_KEY has 32 bytes, but must have 16");
    }

    /// The first vector of FIPS 197's appendix C, without padding, and that of
    /// NIST's GCM test case 14, which has a zero key and IV.
    #[test]
    fn known_vectors() {
        let byte = |n: usize| u8::try_from(n).unwrap();
        let cipher = Aes128::new(&std::array::from_fn::<u8, 16, _>(byte).into());
        let mut block = Block::from(std::array::from_fn(|n| byte(n * 0x11)));
        cipher.encrypt_block(&mut block);
        assert_eq!(STANDARD.encode(block), "acTg2Gp7BDDYzbeAcLTFWg==");

        let zero = key(&"\0".repeat(32));
        let hex = "d0d1c8a799996bf0265b98b5d48ab919cea7403d4d606b6e074ec5d3baf39d18";
        let bytes: Vec<u8> = (0..32)
            .map(|n| u8::from_str_radix(hex.get(2 * n..2 * n + 2).unwrap(), 16).unwrap())
            .collect();
        let sealed = [&[0; 12], &bytes[..16], &bytes[16..]].concat();
        let sealed = format!("g1:{}", STANDARD.encode(sealed));
        let text = vault(None, Some(&zero), None).open(&sealed).unwrap();
        assert_eq!(text.expose(), "\0".repeat(16));
    }

    /// `printf %s postgres | openssl enc -aes-128-ecb -base64 -K <hex of the key>`
    #[test]
    fn what_openssl_wrote_is_read() {
        let vault = vault(ecb().as_ref(), None, None);
        let sealed = "v1QVng3N+pZd/0AEObABwg==";
        assert_eq!(vault.seal("postgres").unwrap(), sealed);
        assert_eq!(vault.open(sealed).unwrap().expose(), "postgres");
    }

    #[test]
    fn a_missing_key_and_a_wrong_one_are_told_apart() {
        let (one, other) = (vault(ecb().as_ref(), None, None), vault(None, gcm().as_ref(), None));
        let sealed = other.seal("secret").unwrap();
        assert_eq!(one.open(&sealed), Err(CryptoError::NoKey("DB_ENC_KEY_GCM")));
        let changed = key(&"x".repeat(32));
        let stranger = vault(None, Some(&changed), None);
        assert_eq!(stranger.open(&sealed), Err(CryptoError::Wrong("DB_ENC_KEY_GCM")));
        assert!(!format!("{one:?} {:?}", one.open(&sealed)).contains("1234"));
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened(text in ".{0,80}", write_gcm: bool) {
            let vault = vault(ecb().as_ref(), gcm().as_ref(), Some(write_gcm));
            let sealed = vault.seal(&text).unwrap();
            prop_assert_eq!(sealed.starts_with("g1:"), write_gcm);
            let opened = vault.open(&sealed).unwrap();
            prop_assert_eq!(opened.expose(), text);
        }

        #[test]
        fn whatever_is_stored_never_panics(text in ".{0,80}", bytes: Vec<u8>) {
            let vault = vault(ecb().as_ref(), gcm().as_ref(), None);
            for sealed in [text, STANDARD.encode(&bytes), format!("g1:{}", STANDARD.encode(&bytes))] {
                let _ = vault.open(&sealed);
            }
        }

        #[test]
        fn a_forged_bit_is_found(text in ".{1,40}", at: prop::sample::Index, bit in 0_u8..8) {
            let vault = vault(None, gcm().as_ref(), None);
            let sealed = vault.seal(&text).unwrap();
            let mut bytes = STANDARD.decode(sealed.strip_prefix("g1:").unwrap()).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let forged = format!("g1:{}", STANDARD.encode(bytes));
            prop_assert_eq!(vault.open(&forged), Err(CryptoError::Wrong("DB_ENC_KEY_GCM")));
        }
    }
}
