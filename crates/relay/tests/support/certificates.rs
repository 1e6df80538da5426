//! Certificates for tests, made anew for each: an authority, a server, a client, and those that must be refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

const IN_THE_YEAR_2020_S: u64 = 1_577_836_800;
const IN_THE_YEAR_4000_S: u64 = 64_060_588_800;

/// Where a certificate, its key and the authority that its owner trusts are.
#[derive(Debug, Clone)]
pub struct Files {
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// An authority, and a rogue one that calls itself the same.
pub struct Authorities {
    folder: PathBuf,
    good: Issuer<'static, KeyPair>,
    rogue: Issuer<'static, KeyPair>,
}

impl Authorities {
    /// With their certificates in `folder`: `ca.pem`, `rogue-ca.pem`.
    pub fn new(folder: &Path) -> Authorities {
        fs::create_dir_all(folder).unwrap();
        Authorities {
            folder: folder.to_owned(),
            good: authority(&folder.join("ca.pem")),
            rogue: authority(&folder.join("rogue-ca.pem")),
        }
    }

    /// The certificate of the good one.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// That of the rogue.
    pub fn rogue_ca(&self) -> PathBuf {
        self.folder.join("rogue-ca.pem")
    }

    /// A certificate by the good one for a name, valid now.
    pub fn certify(&self, name: &str) -> Files {
        self.write(name, name, &self.good, IN_THE_YEAR_4000_S)
    }

    /// One whose time will be over in so many seconds.
    pub fn certify_for(&self, name: &str, seconds: u64) -> Files {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        self.write(name, name, &self.good, now.as_secs() + seconds)
    }

    /// One whose time is over.
    pub fn certify_in_the_past(&self, name: &str) -> Files {
        let file = format!("{name}-expired");
        self.write(&file, name, &self.good, IN_THE_YEAR_2020_S)
    }

    /// One by the rogue.
    pub fn forge(&self, name: &str) -> Files {
        let file = format!("{name}-rogue");
        self.write(&file, name, &self.rogue, IN_THE_YEAR_4000_S)
    }

    fn write(&self, file: &str, name: &str, issuer: &Issuer<'_, KeyPair>, ends_s: u64) -> Files {
        let mut names = vec![name.to_owned()];
        if name == "localhost" {
            names.push("127.0.0.1".to_owned());
        }
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(ends_s);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap();
        let files = Files {
            ca: self.ca(),
            certificate: self.folder.join(format!("{file}.pem")),
            key: self.folder.join(format!("{file}.key")),
        };
        fs::write(&files.certificate, certificate.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }
}

fn authority(path: &Path) -> Issuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Test Authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2019, 1, 1);
    let key = KeyPair::generate().unwrap();
    fs::write(path, params.self_signed(&key).unwrap().pem()).unwrap();
    Issuer::new(params, key)
}
