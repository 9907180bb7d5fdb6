#include "fusefs/client/transport.h"

#include "fusefs/client/handshake_probe.h"
#include "fusefs/client/turned_away.h"
#include "linkspan/address.h"

namespace linkspan::client {
namespace {

constexpr std::chrono::seconds kProbe{2};

}  // namespace

Status Transport::read() {
  tls::Files files = files_;
  if (files.authorities.empty()) files.authorities = tls::system_authorities();
  if (files.authorities.empty())
    return fail(Code::invalid,
                "this machine has no list of authorities to check the router's certificate by; "
                "give --router-ca FILE, or install ca-certificates");
  tls::Pems pems;
  const auto problems = tls::read(files, &pems);
  if (problems.empty()) pems_ = std::move(pems);
  return pems_ ? ok() : Status(fail(Code::invalid, problems.front().text));
}

Result<std::shared_ptr<Connection>> Transport::connect(const std::string& text) {
  LINKSPAN_TRY(const auto address, parse_address(text));
  if (!address.tls) return make_connection(text, nullptr);
  LINKSPAN_CHECK(read());
  return make_connection(host_and_port(address), &*pems_);
}

std::string Transport::why_not(const std::string& text, const Error& error) const {
  // One that is silent would be silent to us, and another router is to be asked soon.
  if (error.code != Code::unavailable) return {};
  const auto address = parse_address(text);
  if (!address.ok() || (address->tls && !pems_)) return {};
  if (address->is_unix())
    return error.message.find("GOAWAY") == std::string::npos
               ? std::string()
               : why_turned_away(address->path, kProbe);
  if (error.message.find("DNS resolution failed") != std::string::npos) return {};
  return why_no_handshake(*address, pems_.value_or(tls::Pems{}), kProbe);
}

}  // namespace linkspan::client
