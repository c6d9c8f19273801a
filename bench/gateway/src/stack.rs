//! What is measured: a proxy, with the service it asks where it cannot read sessions itself.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use crate::auth::How;
use crate::processes::Process;

/// A kind of stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The gateway, sessions inside.
    Thence,
    /// nginx, with `auth_request` to a service.
    Nginx(How),
    /// HAProxy, which reads no sessions: the floor for a proxy.
    Haproxy,
}

impl Kind {
    /// All of them, the reference before its peers.
    pub const ALL: [Self; 4] =
        [Self::Thence, Self::Nginx(How::Pool), Self::Nginx(How::Inline), Self::Haproxy];

    /// What a row of the table calls it.
    pub fn what(self) -> &'static str {
        match self {
            Self::Thence => "thence-gate, session look-up inside",
            Self::Nginx(How::Pool) => "nginx + auth service, look-up on its pool",
            Self::Nginx(How::Inline) => "nginx + auth service, look-up on its loop",
            Self::Haproxy => "HAProxy, no session look-up",
        }
    }

    /// Whether the upstream hears whose request it is.
    pub fn knows_accounts(self) -> bool {
        self != Self::Haproxy
    }

    /// The Debian package it needs, and the program that shows whether it is there.
    pub fn package(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Thence => None,
            Self::Nginx(_) => Some(("nginx", "nginx")),
            Self::Haproxy => Some(("haproxy", "haproxy")),
        }
    }
}

/// A running stack. Dropped, it is ended.
#[derive(Debug)]
pub struct Stack {
    /// Which one.
    pub kind: Kind,
    /// Where clients come to.
    pub address: SocketAddr,
    /// The proxy.
    pub proxy: Process,
    /// The service it asks.
    pub auth: Option<Process>,
}

/// What every stack stands on.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'g> {
    /// The application.
    pub upstream: SocketAddr,
    /// The session store.
    pub store: &'g Path,
    /// For configurations and logs.
    pub folder: &'g Path,
    /// The gateway's program.
    pub gate: &'g Path,
    /// The most clients there will be at a time.
    pub clients: usize,
}

impl Stack {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// A process of it does not start.
    pub fn start(kind: Kind, ground: Ground<'_>) -> io::Result<Self> {
        let address = free()?;
        let folder = ground.folder.join(format!("{kind:?}"));
        fs::create_dir_all(&folder)?;
        let log = folder.join("log");
        let mut auth = None;
        let mut command;
        match kind {
            Kind::Thence => {
                command = Command::new(ground.gate);
                command.args(["--to", &ground.upstream.to_string()]);
                command.args(["--listen", &address.to_string(), "--metrics", "127.0.0.1:0"]);
                command.arg("--store").arg(ground.store);
            }
            Kind::Nginx(how) => {
                let at = free()?;
                let mut service = Command::new(env::current_exe()?);
                service.args(["auth", how.word(), &at.port().to_string()]).arg(ground.store);
                auth = Some(Process::start(service, &folder.join("auth.log"), at)?);
                let file = folder.join("nginx.conf");
                fs::write(&file, nginx(address, at, ground, &folder))?;
                command = Command::new(program("nginx")?);
                command.arg("-p").arg(&folder).arg("-c").arg(&file).arg("-e").arg(&log);
            }
            Kind::Haproxy => {
                let file = folder.join("haproxy.cfg");
                fs::write(&file, haproxy(address, ground))?;
                command = Command::new(program("haproxy")?);
                command.arg("-f").arg(&file);
            }
        }
        let proxy = Process::start(command, &log, address)?;
        Ok(Self { kind, address, proxy, auth })
    }
}

/// The program of that name, which for a user other than root is often not on the PATH.
///
/// # Errors
///
/// It is not installed.
pub fn program(name: &str) -> io::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let mut programs = folders.map(|folder| folder.join(name));
    programs
        .find(|program| program.is_file())
        .ok_or_else(|| io::Error::other(format!("{name} is not installed")))
}

/// The first line in which a program tells its version.
pub fn version(name: &str, flag: &str) -> io::Result<String> {
    let said = Command::new(program(name)?).arg(flag).stdin(Stdio::null()).output()?;
    let text = [said.stdout, said.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().next().unwrap_or_default().replace("nginx version: nginx/", "nginx "))
}

/// Builds the gateway as a user would, and gives its program.
///
/// # Errors
///
/// cargo cannot be run, or fails.
pub fn gate() -> io::Result<PathBuf> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = ["build", "--release", "-p", "thence-gate", "--message-format"];
    let built = Command::new(cargo)
        .args(build)
        .arg("json-render-diagnostics")
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&built.stdout);
    let mut paths = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        Some(PathBuf::from(rest.split_once('"')?.0))
    });
    let program = paths.next_back().filter(|_| built.status.success());
    program.ok_or_else(|| io::Error::other("cargo did not build thence-gate"))
}

/// An address that nobody has now.
fn free() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// One worker, upstream connections kept, one line of log for each request: as thence-gate does.
fn nginx(listen: SocketAddr, auth: SocketAddr, ground: Ground<'_>, folder: &Path) -> String {
    let (app, folder) = (ground.upstream, folder.display());
    let connections = ground.clients * 2;
    format!(
        r#"daemon off;
worker_processes 1;
pid {folder}/pid;
events {{ worker_connections {connections}; }}
http {{
  access_log {folder}/access.log combined;
  keepalive_requests 1000000;
  keepalive_timeout 75s;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream app {{ server {app}; keepalive 256; keepalive_requests 1000000; }}
  upstream auth {{ server {auth}; keepalive 256; keepalive_requests 1000000; }}
  server {{
    listen {listen} backlog=4096;
    location / {{
      auth_request /_auth;
      auth_request_set $account $upstream_http_x_account_id;
      auth_request_set $session $upstream_http_x_session_id;
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Account-Id $account;
      proxy_set_header X-Session-Id $session;
      proxy_set_header X-Request-Id $request_id;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $host;
    }}
    location = /_auth {{
      internal;
      proxy_pass http://auth;
      proxy_http_version 1.1;
      proxy_pass_request_body off;
      proxy_set_header Connection "";
      proxy_set_header Content-Length "";
    }}
  }}
}}
"#
    )
}

/// One thread, upstream connections kept, one line of log for each request.
fn haproxy(listen: SocketAddr, ground: Ground<'_>) -> String {
    let Ground { upstream, clients, .. } = ground;
    format!(
        r"global
  nbthread 1
  maxconn {clients}
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  option forwardfor
  http-reuse safe
  timeout connect 3s
  timeout client 75s
  timeout server 30s
  timeout http-keep-alive 75s
frontend clients
  bind {listen} backlog 4096
  default_backend app
backend app
  server app {upstream}
"
    )
}
