// The router's configuration: a TOML file, strict (an unknown key is an error), and what the
// command line says on top of it. Every message names file, line and key, and the mend.
//
//   store = "postgres://linkspan@/linkspan"      # or "mem:"
//   listen = ["unix:/run/linkspan/router.sock"]  # also "tls://host:port", "host:port"
//   lease_ms = 5000
//   workers = 16
//   allow_plaintext_tcp = false                  # listen beyond this machine without encryption
//   socket_mode = "0660"                         # of unix sockets
//   socket_users = ["agent", "1000"]             # who may connect to them, if not all whom the
//   socket_groups = ["linkspan"]                 # mode lets: a user, or who is in a group
//   spool_dir = "/var/tmp"                       # large uploads wait here, in unlinked files
//   [tls]                                        # of tls:// addresses; files are read anew
//   certificate = "/etc/linkspan/tls/cert.pem"
//   key = "/etc/linkspan/tls/key.pem"
//   client_ca = "/etc/linkspan/tls/clients.pem"  # mounts must show a certificate signed by it
//   [log]
//   level = "info"
//   format = "text"
//   [[tenant]]
//   name = "default"
//   [[tenant.volume]]
//   name = "memory"
//   quota_bytes = 0
//   quota_files = 0
//   keep_versions = 1000
//   keep_days = 90
//   [[tenant.token]]
//   sha256 = "hex, printed by `linkspan-routerd token new`"
//   principal = "agent"
//   sandbox = ""
//   expires = 2030-01-01T00:00:00Z
//   bind = true                                  # to the sandbox that uses it first
//   sources = ["10.0.0.0/8"]                     # from where it may be used
//   renew_s = 900                                # it ends so long after its last mount
//   [[tenant.token.route]]
//   path = "memory"
//   volume = "memory"
//   rights = "rw"
//   policy = "merge"
//   timeout_ms = 30000
//   [[tenant.token.route.pattern]]               # the first that matches decides, else `policy`
//   glob = "journal/**/*.log"                    # see PolicyPattern in linkspan/types.h
//   policy = "last-writer-wins"
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "linkspan/address.h"
#include "linkspan/limits.h"
#include "linkspan/tls_files.h"
#include "routerd/store/store.h"

namespace linkspan::config {

// A value and where it was said: "routerd.toml:3: listen" or "--listen".
struct Sourced {
  std::string text;
  std::string origin;
};

// Files of tls:// addresses; without `client_ca` mounts need no certificate.
struct Tls {
  Sourced certificate, key, client_ca;
  tls::Files files() const { return {certificate.text, key.text, client_ca.text}; }
};

// Who may connect to a unix socket: any of these. Both empty: whoever can open it.
struct SocketPeers {
  std::vector<uint32_t> users, groups;
};

enum class LogFormat : uint8_t { text, json };

struct Config {
  Sourced store;
  std::vector<Sourced> listen;
  std::chrono::milliseconds lease = limits::kLease;
  uint32_t workers = 16;
  bool allow_plaintext_tcp = false;
  uint32_t socket_mode = 0660;
  SocketPeers socket_peers;
  Tls tls;
  Sourced spool_dir{"/var/tmp", "spool_dir"};
  std::string log_level = "info";
  LogFormat log_format = LogFormat::text;
  std::vector<store::TenantSpec> tenants;
  std::vector<store::TokenRecord> tokens;
};

// Bounds of what may be asked for; the flags obey them too.
inline constexpr int64_t kLeaseMsLeast = 100, kLeaseMsMost = 600'000;
inline constexpr int64_t kWorkersMost = 256;
inline constexpr size_t kProblemsShown = 20;
inline constexpr size_t kFileBytesMost = 8 << 20;  // of a configuration file
inline constexpr const char* kDefaultListen = "unix:/run/linkspan/router.sock";

struct Parsed {
  Config config;
  std::vector<std::string> problems;  // empty: `config` is good
};

// `label` is the file's name as the messages show it.
Parsed parse(std::string_view toml, const std::string& label);
// Reads and parses the file; a file that cannot be read is a problem like any other.
Parsed load(const std::string& path);

// What only the whole can tell, after flags were applied: store, addresses and the files of [tls],
// which it reads. Fills in the default address. One message for each problem.
std::vector<std::string> check(Config* config);

// For --check-config: what the router would do, without secrets.
std::string summary(const Config& config);
// The store's URL without its password.
std::string without_password(const std::string& url);

// "0660" -> 0660. `invalid`.
Result<uint32_t> parse_mode(std::string_view text);
bool is_log_level(std::string_view text);

}  // namespace linkspan::config
