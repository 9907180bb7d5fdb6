#include "routerd/config/config.h"

#include <algorithm>
#include <set>

#include "linkspan/percent.h"
#include "linkspan/utc.h"

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
    } else if (!address->tls && !is_local(*address) && !config->allow_plaintext_tcp) {
      problems->push_back(listen.origin + ": '" + listen.text +
                          "' can be reached from other machines and the connection is not "
                          "encrypted; listen on tls://" +
                          listen.text +
                          " or 127.0.0.1, or say allow_plaintext_tcp = true "
                          "(--allow-plaintext-tcp) if the network is private");
    } else if (!seen.insert(to_string(*address)).second &&
               (address->is_unix() || address->port != 0)) {
      problems->push_back(listen.origin + ": '" + listen.text + "' is listed twice; remove one");
    }
  }
}

void check_tls(const Config& config, std::vector<std::string>* problems) {
  const Tls& tls = config.tls;
  for (const Sourced& listen : config.listen) {
    if (!listen.text.starts_with("tls://") || !tls.certificate.text.empty()) continue;
    problems->push_back(listen.origin + ": '" + listen.text +
                        "' needs a certificate; add [tls] with certificate = \"FILE\" and key = "
                        "\"FILE\" to the configuration");
    return;
  }
  tls::Pems pems;
  for (const tls::Problem& problem : tls::read(tls.files(), &pems)) {
    const Sourced& key = problem.part == tls::Part::certificate ? tls.certificate
                         : problem.part == tls::Part::key       ? tls.key
                                                                : tls.client_ca;
    problems->push_back(key.origin + ": " + problem.text);
  }
}

std::string tls_summary(const Tls& tls) {
  tls::Pems pems;
  if (tls.certificate.text.empty() || !tls::read(tls.files(), &pems).empty()) return {};
  return "tls: " + tls.certificate.text + ", until " + tls::expiry(pems.certificate) +
         (tls.client_ca.text.empty()
              ? "; mounts need no certificate\n"
              : "; mounts must show a certificate by " + tls.client_ca.text + "\n");
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

std::string pattern_summary(const PolicyPattern& pattern) {
  std::string out;
  const auto say = [&](std::string_view word) { (out += out.empty() ? "" : ", ") += word; };
  if (pattern.policy) say(policy_name(*pattern.policy));
  if (pattern.access) say(to_string(*pattern.access));
  if (pattern.no_exec) say(*pattern.no_exec ? "no execute bits" : "execute bits");
  if (pattern.max_bytes) say("at most " + std::to_string(*pattern.max_bytes) + " bytes a file");
  std::string names;
  for (const std::string& glob : pattern.allowed) names += " " + glob;
  if (!names.empty()) say("only names like" + names);
  return out;
}

std::string source_summary(const std::vector<std::string>& sources) {
  std::string out;
  for (const std::string& source : sources) out += (out.empty() ? ", from " : " ") + source;
  return out;
}

std::string token_summary(const store::TokenRecord& token) {
  std::string out = "  token of " + token.principal +
                    (token.sandbox.empty() ? "" : " in sandbox " + token.sandbox) +
                    (token.expires.ns ? ", expires " + utc(token.expires) : ", never expires") +
                    (token.renew.count() ? ", " + std::to_string(token.renew.count()) +
                                               " s after its last mount at the latest"
                                         : "") +
                    (token.bind ? ", bound to the sandbox that uses it first" : "") +
                    source_summary(token.sources) + "\n";
  for (const Route& route : token.routes) {
    out += "    " + route.path + " -> " + route.volume + " (" +
           std::string(rights_word(route.rights)) + ", " + std::string(policy_name(route.policy)) +
           ")\n";
    for (const PolicyPattern& pattern : route.patterns)
      out += "      " + pattern.glob + ": " + pattern_summary(pattern) + "\n";
  }
  return out;
}

// What libpq takes for secret: password, and sslpassword of a client key.
bool is_secret(std::string_view key) {
  return key == "password" || key == "sslpassword";
}

bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

// "user:password@" before the host, and keys of the query, which may name the password too (a
// percent-encoded key is one all the same).
std::string mask_url(const std::string& url, size_t authority) {
  std::string out = url;
  const auto query = url.find('?', authority);
  if (query != std::string::npos) {
    out.resize(query);
    for (size_t at = query; at < url.size();) {
      const auto end = std::min(url.find('&', at + 1), url.size());
      const auto equals = std::min(url.find('=', at), end);
      const bool secret = is_secret(percent_decoded(url.substr(at + 1, equals - at - 1)));
      out += secret && equals < end ? url.substr(at, equals + 1 - at) + "***"
                                    : url.substr(at, end - at);
      at = end;
    }
  }
  const auto end = std::min(out.find_first_of("/?", authority), out.size());
  const auto at = out.substr(0, end).rfind('@');
  if (at == std::string::npos || at < authority) return out;
  const auto colon = out.find(':', authority);
  if (colon == std::string::npos || colon > at) return out;
  return out.substr(0, colon + 1) + "***" + out.substr(at);
}

// The end of a value in libpq's "key = value" form: quoted, or up to a space; a backslash takes the
// next character along.
size_t value_end(const std::string& text, size_t at) {
  const bool quoted = at < text.size() && text[at] == '\'';
  if (quoted) ++at;
  while (at < text.size() && (quoted ? text[at] != '\'' : !is_space(text[at])))
    at += text[at] == '\\' ? 2 : 1;
  return std::min(at + (quoted ? 1 : 0), text.size());
}

std::string mask_conninfo(const std::string& text) {
  const auto skip_spaces = [&](size_t at) {
    while (at < text.size() && is_space(text[at])) ++at;
    return at;
  };
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t key = skip_spaces(at);
    size_t key_end = key;
    while (key_end < text.size() && text[key_end] != '=' && !is_space(text[key_end])) ++key_end;
    const size_t equals = skip_spaces(key_end);
    if (equals >= text.size() || text[equals] != '=') {  // no conninfo, but shown all the same
      out += text.substr(at, equals - at);
      at = equals;
      continue;
    }
    const size_t value = skip_spaces(equals + 1);
    const size_t end = value_end(text, value);
    const bool secret = is_secret(std::string_view(text).substr(key, key_end - key));
    out += text.substr(at, value - at) + (secret ? "***" : text.substr(value, end - value));
    at = end;
  }
  return out;
}

}  // namespace

std::vector<std::string> check(Config* config) {
  std::vector<std::string> problems;
  check_store(*config, &problems);
  check_listen(config, &problems);
  check_tls(*config, &problems);
  return problems;
}

std::string without_password(const std::string& url) {
  const auto scheme = url.find("://");
  return scheme == std::string::npos ? mask_conninfo(url) : mask_url(url, scheme + 3);
}

std::string summary(const Config& config) {
  std::string out = "store: " + without_password(config.store.text) + "\n";
  for (const Sourced& listen : config.listen) out += "listen: " + listen.text + "\n";
  out += tls_summary(config.tls);
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
