#include "fusefs/cli/router_choice.h"

#include <cstdlib>

#include "fusefs/cli/instance.h"
#include "fusefs/cli/preflight.h"
#include "fusefs/cli/system.h"

namespace linkspan::cli {

namespace {

// The flag's value, else that of the environment; absolute, since a mount changes its directory.
std::string chosen(const std::string& flag, const char* variable) {
  const char* const value = flag.empty() ? ::getenv(variable) : flag.c_str();
  return value && *value ? absolute_path(value) : std::string();
}

bool is_set(const char* variable) {
  const char* const value = ::getenv(variable);
  return value && std::string_view(value) == "1";
}

Result<tls::Files> choose_tls(const tls::Files& flags) {
  const tls::Files files{chosen(flags.certificate, "LINKSPAN_ROUTER_CERT"),
                         chosen(flags.key, "LINKSPAN_ROUTER_KEY"),
                         chosen(flags.authorities, "LINKSPAN_ROUTER_CA")};
  if (files.certificate.empty() != files.key.empty())
    return fail(Code::invalid, files.key.empty()
                                   ? "a certificate needs its key; give --router-key FILE, too "
                                     "(LINKSPAN_ROUTER_KEY)"
                                   : "a key needs its certificate; give --router-cert FILE, too "
                                     "(LINKSPAN_ROUTER_CERT)");
  tls::Pems pems;
  for (const tls::Problem& problem : tls::read(files, &pems)) {
    const char* const option = problem.part == tls::Part::certificate ? "--router-cert "
                               : problem.part == tls::Part::key       ? "--router-key "
                                                                      : "--router-ca ";
    return fail(Code::invalid, option + problem.text);
  }
  return files;
}

}  // namespace

Result<ResolvedRouter> resolve_router(RouterOptions& options) {
  // First: the embedded default's servers are programs that get our environment.
  const TokenVariables variables = take_token_variables(options.token);
  ResolvedRouter resolved;
  resolved.address = options.address;
  const bool own_token = !options.token.file.empty() || options.token.fd >= 0;
  if (options.local) {
    LINKSPAN_TRY(auto local, LocalStack::join(options.state_dir));
    resolved.address = local.router();
    if (!own_token)
      options.token.file =
          options.publisher ? local.layout().publisher_token() : local.layout().agent_token();
    resolved.local = std::move(local);
  } else if (resolved.address.empty()) {
    if (const char* address = ::getenv("LINKSPAN_ROUTER")) resolved.address = address;
  }
  LINKSPAN_CHECK(check_router_address(resolved.address));
  LINKSPAN_CHECK(check_plaintext(
      resolved.address, options.allow_plaintext_tcp || is_set("LINKSPAN_ALLOW_PLAINTEXT_TCP")));
  LINKSPAN_TRY(resolved.tls, choose_tls(options.tls));
  LINKSPAN_TRY(resolved.token, read_token(options.token, variables));
  // Only tokens that bind need it: the router says so.
  if (auto instance = instance_secret(options.state_dir); instance.ok())
    resolved.instance = *std::move(instance);
  return resolved;
}

}  // namespace linkspan::cli
