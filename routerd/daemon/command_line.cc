#include "routerd/daemon/command_line.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>

namespace linkspan::daemon {
namespace {

constexpr const char* kFooter =
    R"(Exit status: 0 after an orderly stop, 1 when something failed, 2 for usage and configuration.
SIGTERM and SIGINT stop it once what was accepted is answered (10 s at most); a second one at once.

Example:
  linkspan-routerd token new
  linkspan-routerd --config /etc/linkspan/routerd.toml --check-config
  linkspan-routerd --store mem: --listen unix:/tmp/router.sock --config try.toml)";

constexpr int kWaitStoreMost = 24 * 60 * 60;

void add_options(CLI::App* app, CommandLine* out, bool* check) {
  app->add_option("--config", out->config, "The configuration, TOML")->type_name("FILE");
  app->add_option("--store", out->store,
                  "Where everything is kept: postgres://USER@HOST/DATABASE, or mem: for a try-out "
                  "that keeps nothing")
      ->type_name("URL");
  app->add_option("--listen", out->listen,
                  "unix:/path/to.sock, tls://host:port (needs [tls] in the configuration) or "
                  "host:port (port 0: any); may be repeated; replaces the configuration's")
      ->type_name("ADDR")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app->add_flag("--check-config", *check, "Read the configuration, print what it means, and exit");
  app->add_flag("--allow-plaintext-tcp", out->allow_plaintext_tcp,
                "Listen on other addresses than loopback although nothing is encrypted");
  app->add_option("--socket-mode", out->socket_mode, "Mode of unix sockets (0660)")
      ->type_name("MODE");
  app->add_option("--spool-dir", out->spool_dir, "Where large uploads wait (/var/tmp)")
      ->type_name("DIR");
  app->add_option("--wait-store", out->wait_store_s,
                  "How long a store that is away is tried again at the start (30); 0: not at all")
      ->type_name("SECONDS")
      ->check(CLI::Range(0, kWaitStoreMost));
  app->add_option("--lease-ms", out->lease_ms,
                  "How long a mount may serve its caches without a word (5000)")
      ->type_name("N");
  app->add_option("--workers", out->workers, "Operations that run at once (16)")->type_name("N");
  app->add_option("--log-level", out->log_level, "trace, debug, info, warning or error (info)")
      ->type_name("L");
  app->add_option("--log-format", out->log_format, "text or json (text)")->type_name("F");
  app->add_option("--ready-fd", out->ready_fd,
                  "When it listens, one line of JSON with the addresses is written to this "
                  "descriptor")
      ->type_name("N");
  app->set_version_flag("--version", "linkspan-routerd " LINKSPAN_VERSION);
}

CommandLine usage_error(const std::string& text) {
  CommandLine out;
  out.exit_code = 2;
  out.err = "linkspan-routerd: " + text + "; see linkspan-routerd --help\n";
  return out;
}

void overlay_number(const std::optional<int64_t>& value, const char* flag, int64_t least,
                    int64_t most, const std::function<void(int64_t)>& set,
                    std::vector<std::string>* problems) {
  if (!value) return;
  if (*value >= least && *value <= most)
    set(*value);
  else
    problems->push_back(std::string(flag) + ": " + std::to_string(*value) + " is not between " +
                        std::to_string(least) + " and " + std::to_string(most));
}

void overlay_log(const CommandLine& flags, config::Config* config,
                 std::vector<std::string>* problems) {
  if (flags.log_level && !config::is_log_level(*flags.log_level))
    problems->push_back("--log-level: \"" + *flags.log_level +
                        "\" is not one of trace, debug, info, warning or error");
  else if (flags.log_level)
    config->log_level = *flags.log_level;
  if (!flags.log_format) return;
  if (*flags.log_format != "text" && *flags.log_format != "json")
    problems->push_back("--log-format: \"" + *flags.log_format + "\" is not text or json");
  else
    config->log_format =
        *flags.log_format == "json" ? config::LogFormat::json : config::LogFormat::text;
}

// Found now, not by the first large upload.
std::string spool_problem(const std::string& dir) {
  if (dir.empty() || dir.front() != '/')
    return "'" + dir + "' is no absolute path; write --spool-dir /var/tmp";
  struct stat st;
  const bool there = ::stat(dir.c_str(), &st) == 0;
  if (there && !S_ISDIR(st.st_mode)) return dir + " is not a directory; choose another";
  if (there && ::access(dir.c_str(), W_OK | X_OK) == 0) return {};
  return dir + ": " + std::strerror(errno) +
         (there ? "; let this user write to it, or choose another"
                : "; make it with: mkdir -p " + dir + ", or choose another");
}

void overlay(const CommandLine& flags, config::Config* config, std::vector<std::string>* problems) {
  if (flags.store) config->store = {*flags.store, "--store"};
  if (!flags.listen.empty()) config->listen.clear();
  for (const std::string& address : flags.listen) config->listen.push_back({address, "--listen"});
  if (flags.allow_plaintext_tcp) config->allow_plaintext_tcp = true;
  if (flags.spool_dir) config->spool_dir = {*flags.spool_dir, "--spool-dir"};
  if (auto problem = spool_problem(config->spool_dir.text); !problem.empty())
    problems->push_back(config->spool_dir.origin + ": " + problem);
  if (flags.socket_mode) {
    if (auto mode = config::parse_mode(*flags.socket_mode); mode.ok())
      config->socket_mode = *mode;
    else
      problems->push_back("--socket-mode: " + mode.error().message);
  }
  overlay_number(
      flags.lease_ms, "--lease-ms", config::kLeaseMsLeast, config::kLeaseMsMost,
      [&](int64_t n) { config->lease = std::chrono::milliseconds(n); }, problems);
  overlay_number(
      flags.workers, "--workers", 1, config::kWorkersMost,
      [&](int64_t n) { config->workers = static_cast<uint32_t>(n); }, problems);
  overlay_log(flags, config, problems);
}

}  // namespace

namespace {

// CLI11 lists what it cannot use in no order, and a lacking subcommand without what there is.
std::string wrong_words(const CLI::App& app, const CLI::App& token, int argc,
                        const char* const* argv, const std::string& otherwise) {
  auto left = app.remaining(true);
  std::string words;
  for (int i = 1; i < argc; ++i)
    if (const auto found = std::find(left.begin(), left.end(), argv[i]); found != left.end()) {
      words += std::string(" ") + argv[i];
      left.erase(found);
    }
  if (!words.empty()) return "no use for:" + words;
  return token.parsed() ? "write: linkspan-routerd token new" : otherwise;
}

bool is_writable(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
}

}  // namespace

CommandLine parse_command_line(int argc, const char* const* argv) {
  CommandLine out;
  CLI::App app("Serves Linkspan's shared trees to mounts, and keeps them in Postgres.",
               "linkspan-routerd");
  app.footer(kFooter);
  bool check = false;
  add_options(&app, &out, &check);
  auto* token = app.add_subcommand("token", "Tokens of mounts");
  token->require_subcommand(1);
  const auto* new_token = token->add_subcommand(
      "new", "Print a new token and the SHA-256 that the configuration wants, as JSON");
  app.require_subcommand(0, 1);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {  // --help, --version
    std::ostringstream text, errors;
    app.exit(e, text, errors);
    out.out = text.str();
    return out;
  } catch (const CLI::ParseError& e) {
    return usage_error(wrong_words(app, *token, argc, argv, e.what()));
  }
  if (new_token->parsed())
    out.action = CommandLine::Action::new_token;
  else if (check)
    out.action = CommandLine::Action::check_config;
  else
    out.action = CommandLine::Action::serve;
  if (app.count("--ready-fd") && out.ready_fd < 0)
    return usage_error("--ready-fd: a descriptor is a number from 0");
  if (app.count("--ready-fd") && !is_writable(out.ready_fd))
    return usage_error("--ready-fd: " + std::to_string(out.ready_fd) +
                       " is no descriptor that is open for writing");
  return out;
}

config::Parsed effective_config(const CommandLine& flags) {
  config::Parsed parsed;
  if (flags.config) parsed = config::load(*flags.config);
  overlay(flags, &parsed.config, &parsed.problems);
  // What the whole lacks is told only once its parts are right.
  if (parsed.problems.empty()) parsed.problems = config::check(&parsed.config);
  return parsed;
}

}  // namespace linkspan::daemon
