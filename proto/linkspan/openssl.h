// What OpenSSL's objects need in C++: owners that free them. Private to those who look at
// certificates: tls_files.cc, and the mount's handshake_probe.cc.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

namespace linkspan::tls {

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* thing) const {
    Free(thing);
  }
};
using Bio = std::unique_ptr<BIO, Freed<BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;

// In UTC, "2030-01-01T00:00:00Z"; empty: it is no time.
std::string when(const ASN1_TIME* time);

}  // namespace linkspan::tls
