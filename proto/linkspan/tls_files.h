// Certificates, keys and authorities in PEM files: read, and checked before anybody relies on them.
// For the router's [tls] and for a mount's --router-ca, --router-cert and --router-key. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "linkspan/error.h"

namespace linkspan::tls {

// Paths; empty: none.
struct Files {
  std::string certificate;  // one's own, and what leads to its authority
  std::string key;          // of `certificate`
  std::string authorities;  // by which the other side's certificate is checked
  bool operator==(const Files&) const = default;
};

// Their contents, PEM.
struct Pems {
  std::string certificate, key, authorities;
  bool operator==(const Pems&) const = default;
};

enum class Part : uint8_t { certificate, key, authorities };

struct Problem {
  Part part;
  std::string text;  // names the file and the mend
};

// Reads what is named. Every problem at once: a file that is missing or holds nothing of its sort,
// a certificate that is out of date, a key that others can read, that has a pass phrase or that
// belongs to another certificate.
std::vector<Problem> read(const Files& files, Pems* out);

// The last day of the first certificate in `pem`: "2030-01-01T00:00:00Z"; empty if there is
// none.
std::string expiry(std::string_view pem);

// Where this machine keeps the authorities that it trusts ($SSL_CERT_FILE, else the usual places);
// empty: nowhere.
std::string system_authorities();

// gRPC (1.51) has no public way to say that TLS 1.2 is too old, but takes the cipher suites of TLS
// 1.2 from its environment: from here on this process has none that can be agreed on, so that every
// handshake of gRPC's is TLS 1.3 or fails. Before gRPC makes its first TLS connection.
void require_tls13();

}  // namespace linkspan::tls
