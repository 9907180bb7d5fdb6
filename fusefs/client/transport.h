// How a mount gets connections to a router: unix sockets and plain TCP as they are, tls:// with the
// router's certificate checked, and its own shown if it has one. Private to this folder.
//
// Threads: one at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "fusefs/client/connection.h"
#include "linkspan/error.h"
#include "linkspan/tls_files.h"

namespace linkspan::client {

class Transport {
 public:
  // `authorities` may be empty: the system's.
  explicit Transport(tls::Files files) : files_(std::move(files)) {}

  // The files are read anew; ones that are broken now, or away, are as they were read last.
  // `invalid` when they never were good. That nobody listens is for the first call to find.
  Result<std::shared_ptr<Connection>> connect(const std::string& address);
  // After a first call that failed with `error`: the reason that is in TLS, with the mend, or
  // empty.
  std::string why_not(const std::string& address, const Error& error) const;

 private:
  Status read();

  const tls::Files files_;
  std::optional<tls::Pems> pems_;
};

}  // namespace linkspan::client
