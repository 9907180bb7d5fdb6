#include "routerd/config/config.h"

#include <algorithm>
#include <set>

namespace linkspan::config {
namespace {

bool is_store_url(std::string_view url) {
  return url == "mem:" || url.starts_with("postgres://") || url.starts_with("postgresql://") ||
         url.find('=') != std::string_view::npos;  // libpq's "host=... dbname=..."
}

void check_store(const Config& config, std::vector<std::string>* problems) {
  if (config.store.text.empty())
    problems->push_back(
        "no store is configured; write store = \"postgres://...\" in the configuration or give "
        "--store postgres://... (or mem: for a try-out that keeps nothing)");
  else if (!is_store_url(config.store.text))
    problems->push_back(config.store.origin + ": '" + without_password(config.store.text) +
                        "' is no store; write postgres://USER@HOST/DATABASE or mem:");
}

void check_listen(Config* config, std::vector<std::string>* problems) {
  if (config->listen.empty()) config->listen.push_back({kDefaultListen, "the default"});
  std::set<std::string> seen;
  for (const Sourced& listen : config->listen) {
    const auto address = parse_address(listen.text);
    if (!address.ok()) {
      problems->push_back(listen.origin + ": '" + listen.text +
                          "' is no address: " + address.error().message);
    } else if (!is_local(*address) && !config->allow_plaintext_tcp) {
      problems->push_back(listen.origin + ": '" + listen.text +
                          "' can be reached from other machines and the connection is not "
                          "encrypted; listen on 127.0.0.1, or say allow_plaintext_tcp = true "
                          "(--allow-plaintext-tcp) if the network is private");
    } else if (!seen.insert(to_string(*address)).second &&
               (address->is_unix() || address->port != 0)) {
      problems->push_back(listen.origin + ": '" + listen.text + "' is listed twice; remove one");
    }
  }
}

std::string quota(const store::VolumeSpec& volume) {
  std::string out;
  if (volume.quota_bytes) out += ", at most " + std::to_string(volume.quota_bytes) + " bytes";
  if (volume.quota_files) out += ", at most " + std::to_string(volume.quota_files) + " files";
  return out;
}

std::string_view policy_name(Policy policy) {
  switch (policy) {
    case Policy::merge:
      return "merge";
    case Policy::reject:
      return "reject";
    case Policy::last_writer_wins:
      return "last-writer-wins";
  }
  return "?";
}

std::string token_summary(const store::TokenRecord& token) {
  std::string out = "  token of " + token.principal +
                    (token.sandbox.empty() ? "" : " in sandbox " + token.sandbox) +
                    (token.expires.ns ? ", expires" : ", never expires") + "\n";
  for (const Route& route : token.routes)
    out += "    " + route.path + " -> " + route.volume + (route.writable ? " (rw, " : " (ro, ") +
           std::string(policy_name(route.policy)) + ")\n";
  return out;
}

}  // namespace

std::vector<std::string> check(Config* config) {
  std::vector<std::string> problems;
  check_store(*config, &problems);
  check_listen(config, &problems);
  return problems;
}

std::string without_password(const std::string& url) {
  if (const auto scheme = url.find("://"); scheme != std::string::npos) {
    const auto authority = scheme + 3;
    const auto end = std::min(url.find_first_of("/?", authority), url.size());
    const auto at = url.substr(0, end).rfind('@');
    if (at == std::string::npos || at < authority) return url;
    const auto colon = url.find(':', authority);
    if (colon == std::string::npos || colon > at) return url;
    return url.substr(0, colon + 1) + "***" + url.substr(at);
  }
  const auto key = url.find("password=");
  if (key == std::string::npos) return url;
  const auto value = key + 9;
  const auto end = value < url.size() && url[value] == '\''
                       ? std::min(url.find('\'', value + 1), url.size() - 1) + 1
                       : std::min(url.find(' ', value), url.size());
  return url.substr(0, value) + "***" + url.substr(end);
}

std::string summary(const Config& config) {
  std::string out = "store: " + without_password(config.store.text) + "\n";
  for (const Sourced& listen : config.listen) out += "listen: " + listen.text + "\n";
  out += "lease: " + std::to_string(config.lease.count()) + " ms\n";
  out += "workers: " + std::to_string(config.workers) + "\n";
  for (const auto& tenant : config.tenants) {
    out += "tenant " + tenant.name + "\n";
    for (const auto& volume : tenant.volumes)
      out += "  volume " + volume.name + ": keeps " + std::to_string(volume.keep_versions) +
             " versions, " + std::to_string(volume.keep_days) + " days" + quota(volume) + "\n";
    for (const auto& token : config.tokens)
      if (token.tenant == tenant.name) out += token_summary(token);
  }
  return out;
}

Result<uint32_t> parse_mode(std::string_view text) {
  uint32_t mode = 0;
  const bool octal =
      text.size() >= 3 && text.size() <= 4 && std::all_of(text.begin(), text.end(), [&](char c) {
        mode = mode * 8 + static_cast<uint32_t>(c - '0');
        return c >= '0' && c <= '7';
      });
  if (!octal || mode > 0777)
    return fail(Code::invalid,
                "'" + std::string(text) + "' is no mode; write it in octal, like \"0660\"");
  return mode;
}

bool is_log_level(std::string_view text) {
  return text == "trace" || text == "debug" || text == "info" || text == "warning" ||
         text == "error";
}

}  // namespace linkspan::config
