#include "linkspan/tls_files.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>

#include "linkspan/openssl.h"

namespace linkspan::tls {
namespace {

constexpr size_t kFileBytesMost = 4 << 20;  // a system's authorities are 250 KiB

Bio reader(std::string_view pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

Certificate next_certificate(BIO* pem) {
  Certificate certificate(PEM_read_bio_X509(pem, nullptr, nullptr, nullptr));
  ERR_clear_error();  // a file's end is one to OpenSSL
  return certificate;
}

std::string read_file(const std::string& path, std::string* out) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::strerror(errno);
  out->resize(kFileBytesMost + 1);
  in.read(out->data(), static_cast<std::streamsize>(out->size()));
  if (in.bad()) return std::strerror(errno);
  out->resize(static_cast<size_t>(in.gcount()));
  return out->size() > kFileBytesMost ? "is larger than 4 MiB" : "";
}

std::string certificate_problem(const std::string& pem) {
  const Bio in = reader(pem);
  const Certificate first = next_certificate(in.get());
  if (!first)
    return "holds no certificate; put it there in PEM form (-----BEGIN CERTIFICATE-----), followed "
           "by those that lead to its authority";
  if (X509_cmp_current_time(X509_get0_notAfter(first.get())) < 0)
    return "the certificate expired on " + when(X509_get0_notAfter(first.get())) +
           "; put a new one there";
  if (X509_cmp_current_time(X509_get0_notBefore(first.get())) > 0)
    return "the certificate is valid only from " + when(X509_get0_notBefore(first.get())) +
           " on; is this machine's clock right?";
  return {};
}

std::string access_problem(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0 || (st.st_mode & 0026) == 0) return {};
  return std::string("the key can be ") + ((st.st_mode & 0022) ? "written" : "read") +
         " by others; mend it with: chmod 600 " + path;
}

struct Asked {
  bool phrase = false;
};

// Nobody is there to type one.
int no_phrase(char*, int, int, void* asked) {
  static_cast<Asked*>(asked)->phrase = true;
  return -1;
}

Key parse_key(const std::string& pem, Asked* asked) {
  const Bio in = reader(pem);
  Key key(PEM_read_bio_PrivateKey(in.get(), nullptr, no_phrase, asked));
  ERR_clear_error();
  return key;
}

std::string key_problem(const std::string& path, const std::string& pem) {
  Asked asked;
  if (parse_key(pem, &asked)) return {};
  if (asked.phrase)
    return "the key has a pass phrase, which nobody is there to type; take it off with: openssl "
           "pkey -in " +
           path + " -out FILE";
  return "holds no private key; put it there in PEM form (-----BEGIN PRIVATE KEY-----)";
}

bool belong_together(const Pems& pems) {
  Asked asked;
  const Key key = parse_key(pems.key, &asked);
  const Bio in = reader(pems.certificate);
  const Certificate certificate = next_certificate(in.get());
  const bool match = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  return match;
}

std::string authorities_problem(const std::string& pem) {
  const Bio in = reader(pem);
  if (next_certificate(in.get())) return {};
  return "holds no certificate; put the authority's there in PEM form (-----BEGIN "
         "CERTIFICATE-----)";
}

}  // namespace

std::string when(const ASN1_TIME* time) {
  std::tm at{};  // not utc(): certificates without an end say 9999, which no linkspan::Time holds
  char text[32] = "";
  if (ASN1_TIME_to_tm(time, &at) == 1) std::strftime(text, sizeof text, "%FT%TZ", &at);
  return text;
}

std::vector<Problem> read(const Files& files, Pems* out) {
  std::vector<Problem> problems;
  // True: it was read, and `check` finds nothing wrong with it.
  const auto take = [&](Part part, const std::string& path, std::string* pem, const auto& check) {
    if (path.empty()) return false;
    std::string problem = read_file(path, pem);
    if (!problem.empty())
      problem += "; is the path right, and may this user read it?";
    else
      problem = check(*pem);
    if (!problem.empty()) problems.push_back({part, path + ": " + problem});
    return problem.empty();
  };
  *out = {};
  const bool certificate =
      take(Part::certificate, files.certificate, &out->certificate, certificate_problem);
  const bool key = take(Part::key, files.key, &out->key, [&](const std::string& pem) {
    const std::string access = access_problem(files.key);
    return access.empty() ? key_problem(files.key, pem) : access;
  });
  take(Part::authorities, files.authorities, &out->authorities, authorities_problem);
  if (certificate && key && !belong_together(*out))
    problems.push_back({Part::key, files.key + ": the key does not belong to the certificate in " +
                                       files.certificate +
                                       "; put the two there that were made "
                                       "together"});
  return problems;
}

std::string expiry(std::string_view pem) {
  const Bio in = reader(pem);
  const Certificate first = next_certificate(in.get());
  return first ? when(X509_get0_notAfter(first.get())) : std::string();
}

std::string system_authorities() {
  if (const char* chosen = std::getenv("SSL_CERT_FILE"); chosen && *chosen) return chosen;
  for (const char* path : {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                           "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"})
    if (::access(path, R_OK) == 0) return path;
  return {};
}

void require_tls13() {
  // A suite that needs a shared secret, which nobody has. OpenSSL refuses an empty list.
  [[maybe_unused]] static const bool done =
      ::setenv("GRPC_SSL_CIPHER_SUITES", "PSK-AES256-GCM-SHA384", 1) == 0;
}

}  // namespace linkspan::tls
