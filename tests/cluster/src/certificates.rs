//! A certificate authority for one cluster, by openssl.

use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

const EC: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/// `ca.crt`, `ca.key`, `sa.key`, `sa.pub` and what it signs, in a folder.
pub(crate) struct Authority {
    folder: PathBuf,
}

impl Authority {
    pub(crate) fn new(folder: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let (key, certificate) = (path(&folder, "ca.key"), path(&folder, "ca.crt"));
        let mut arguments = vec!["req", "-x509", "-subj", "/CN=roomscribe-test", "-days", "30"];
        arguments.extend(EC);
        arguments.extend(["-keyout", &key, "-out", &certificate]);
        openssl(&arguments)?;
        let service_accounts = path(&folder, "sa.key");
        let curve = "ec_paramgen_curve:P-256";
        openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", curve, "-out", &service_accounts])?;
        openssl(&["pkey", "-in", &service_accounts, "-pubout", "-out", &path(&folder, "sa.pub")])?;
        Ok(Self { folder })
    }

    /// Path of a file here.
    pub(crate) fn file(&self, name: &str) -> String {
        path(&self.folder, name)
    }

    /// `<file>.crt` and `<file>.key`: `name` is the user or host, `groups` its groups, `hosts` as in subjectAltName.
    pub(crate) fn sign(&self, file: &str, name: &str, groups: &[&str], hosts: &str) -> anyhow::Result<()> {
        let mut subject: String = groups.iter().map(|group| format!("/O={group}")).collect();
        subject.push_str(&format!("/CN={name}"));
        let (key, certificate) = (self.file(&format!("{file}.key")), self.file(&format!("{file}.crt")));
        let (ca, ca_key) = (self.file("ca.crt"), self.file("ca.key"));
        let hosts = format!("subjectAltName={hosts}");
        let mut arguments =
            vec!["req", "-x509", "-CA", &ca, "-CAkey", &ca_key, "-days", "30", "-subj", &subject];
        arguments.extend(EC);
        arguments.extend(["-addext", "extendedKeyUsage=serverAuth,clientAuth"]);
        arguments.extend(["-addext", "basicConstraints=critical,CA:FALSE"]);
        if hosts != "subjectAltName=" {
            arguments.extend(["-addext", &hosts]);
        }
        arguments.extend(["-keyout", &key, "-out", &certificate]);
        openssl(&arguments)
    }
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_string_lossy().into_owned()
}

fn openssl(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("openssl").args(arguments).output().context("openssl")?;
    ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
