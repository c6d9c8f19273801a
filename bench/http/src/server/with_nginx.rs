//! nginx: `return 200`, from a folder of its own.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, fs, io, process};

use measure::callgrind::Profile;
use measure::process::{Process, free_port, under};

use super::HELLO;

/// nginx, wherever it is: Debian has it where only root's path looks.
pub fn program() -> Option<&'static str> {
    ["nginx", "/usr/sbin/nginx"].into_iter().find(|program| {
        let mut command = Command::new(program);
        command.arg("-v").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

/// Its name and version.
pub fn version() -> Option<String> {
    let out = Command::new(program()?).arg("-v").output().ok()?;
    let text = String::from_utf8(out.stderr).ok()?;
    Some(text.trim().strip_prefix("nginx version: ")?.replace('/', " "))
}

/// Starts it as one process, which is its own worker. The folder has to stay as long as it runs.
pub fn start(profile: Option<&Profile>) -> io::Result<(Process, Folder)> {
    let program = program().ok_or_else(|| io::Error::other("nginx is not installed"))?;
    let port = free_port()?;
    let folder = Folder::new(port)?;
    let path = folder.0.display();
    let file = folder.0.join("nginx.conf");
    let config = format!(
        r#"daemon off;
master_process off;
pid {path}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  default_type text/plain;
  client_body_temp_path {path}/body;
  proxy_temp_path {path}/proxy;
  fastcgi_temp_path {path}/fastcgi;
  uwsgi_temp_path {path}/uwsgi;
  scgi_temp_path {path}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 "{HELLO}"; }}
  }}
}}
"#
    );
    fs::write(&file, config)?;
    let mut command = Command::new(program);
    command.args(["-e", "stderr", "-p"]).arg(&folder.0).arg("-c").arg(&file);
    Ok((Process::start_on(port, &under(profile, command))?, folder))
}

/// A temporary folder, removed when it is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    fn new(port: u16) -> io::Result<Self> {
        let name = format!("thence-bench-{}-nginx-{port}", process::id());
        let folder = Self(env::temp_dir().join(name));
        fs::create_dir(&folder.0)?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
