#include "fusefs/client/handshake_probe.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <vector>

#include "linkspan/convert.h"
#include "linkspan/limits.h"
#include "linkspan/openssl.h"

namespace linkspan::client {
namespace {

using Steady = std::chrono::steady_clock::time_point;

constexpr size_t kNamesShown = 5;
constexpr unsigned char kAlert = 21, kHandshake = 22;  // types of TLS records

using tls::Bio, tls::Certificate, tls::Freed, tls::Key, tls::when;
using Context = std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>>;
using Tls = std::unique_ptr<SSL, Freed<SSL_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES_free>>;
using Resolved = std::unique_ptr<addrinfo, Freed<freeaddrinfo>>;

struct Socket {
  int fd = -1;
  ~Socket() {
    if (fd >= 0) close(fd);
  }
};

bool await(int fd, short events, Steady until) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      until - std::chrono::steady_clock::now());
  pollfd wait{fd, events, 0};
  return left.count() > 0 && poll(&wait, 1, static_cast<int>(left.count())) > 0;
}

int connect_to(const Address& address, Steady until) {
  addrinfo hints{}, *all = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &all) != 0)
    return -1;
  const Resolved owner(all);
  for (const addrinfo* one = all; one; one = one->ai_next) {
    const int fd = socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = 0;
    socklen_t bytes = sizeof error;
    if (fd >= 0 && (connect(fd, one->ai_addr, one->ai_addrlen) == 0 ||
                    (errno == EINPROGRESS && await(fd, POLLOUT, until) &&
                     getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0 && error == 0)))
      return fd;
    if (fd >= 0) close(fd);
  }
  return -1;
}

std::vector<Certificate> certificates(const std::string& pem) {
  const Bio in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  std::vector<Certificate> all;
  while (X509* one = PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)) all.emplace_back(one);
  ERR_clear_error();
  return all;
}

void show_own(SSL_CTX* context, const tls::Pems& pems) {
  auto chain = certificates(pems.certificate);
  if (chain.empty()) return;
  const Bio in(BIO_new_mem_buf(pems.key.data(), static_cast<int>(pems.key.size())));
  const Key key(PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr));
  SSL_CTX_use_certificate(context, chain.front().get());
  SSL_CTX_use_PrivateKey(context, key.get());
  for (size_t i = 1; i < chain.size(); ++i) SSL_CTX_add1_chain_cert(context, chain[i].get());
}

bool is_number(const std::string& host) {
  in6_addr address{};
  return inet_pton(AF_INET, host.c_str(), &address) == 1 ||
         inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

std::string text_of(const GENERAL_NAME* name) {
  if (name->type == GEN_DNS)
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
            static_cast<size_t>(ASN1_STRING_length(name->d.dNSName))};
  if (name->type != GEN_IPADD) return {};
  const int bytes = ASN1_STRING_length(name->d.iPAddress);
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(bytes == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(name->d.iPAddress), text,
            sizeof text);
  return text;
}

// "router.example.org, 10.0.0.1"
std::string names_of(const X509* certificate) {
  const Names names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::string all;
  size_t shown = 0;
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()) && shown < kNamesShown; ++i) {
    const std::string name = text_of(sk_GENERAL_NAME_value(names.get(), i));
    if (name.empty() || name.find('\n') != std::string::npos) continue;
    all += (shown++ ? ", " : "") + name;
  }
  return all.empty() ? "no name at all" : wire::clean_text(all, limits::kErrorTextBytes);
}

class Probe {
 public:
  Probe(const Address& address, const tls::Pems& pems, Steady until)
      : address_(address), pems_(pems), until_(until), context_(SSL_CTX_new(TLS_client_method())) {}

  std::string run() {
    socket_.fd = connect_to(address_, until_);
    if (socket_.fd < 0) return {};
    set_up();
    const bool done = handshake();
    const std::string said = address_.tls ? judge(done) : judge_plaintext();
    ERR_clear_error();
    return said;
  }

 private:
  void set_up() {
    if (address_.tls) {
      SSL_CTX_set_min_proto_version(context_.get(), TLS1_3_VERSION);
      show_own(context_.get(), pems_);
      for (const auto& authority : certificates(pems_.authorities))
        X509_STORE_add_cert(SSL_CTX_get_cert_store(context_.get()), authority.get());
    }
    // Called when the other side asks for our certificate.
    SSL_CTX_set_cert_cb(
        context_.get(),
        [](SSL*, void* self) {
          static_cast<Probe*>(self)->asked_ = true;
          return 1;
        },
        this);
    tls_.reset(SSL_new(context_.get()));
    const unsigned char h2[] = {2, 'h', '2'};
    SSL_set_alpn_protos(tls_.get(), h2, sizeof h2);
    if (is_number(address_.host)) {
      X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls_.get()), address_.host.c_str());
    } else {
      SSL_set_tlsext_host_name(tls_.get(), address_.host.c_str());
      SSL_set1_host(tls_.get(), address_.host.c_str());
    }
    SSL_set_fd(tls_.get(), socket_.fd);
  }

  // Runs `step` until it succeeds or fails. True: it succeeded.
  template <class Step>
  bool drive(const Step& step) {
    ERR_clear_error();
    for (;;) {
      const int done = step();
      if (done > 0) return true;
      error_ = SSL_get_error(tls_.get(), done);
      if (error_ != SSL_ERROR_WANT_READ && error_ != SSL_ERROR_WANT_WRITE) return false;
      if (!await(socket_.fd, error_ == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, until_))
        return false;
      if (!heard_ && error_ == SSL_ERROR_WANT_READ)
        heard_ = recv(socket_.fd, &first_, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
    }
  }

  bool handshake() {
    return drive([this] { return SSL_connect(tls_.get()); });
  }

  bool heard_tls() const { return heard_ && (first_ == kHandshake || first_ == kAlert); }

  std::string judge_plaintext() const {
    if (!heard_tls()) return {};
    return "it speaks TLS there; write " +
           to_string(Address{{}, address_.host, address_.port, true});
  }

  std::string judge(bool done) {
    if (!done) {
      if (heard_ && !heard_tls())
        return "it speaks no TLS there; write " + host_and_port(address_) +
               " if the network is private, or have the router listen on tls:// (listen, [tls])";
      const int reason = ERR_GET_REASON(ERR_peek_error());
      if (error_ == SSL_ERROR_SSL &&
          (reason == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION || reason == SSL_R_UNSUPPORTED_PROTOCOL ||
           reason == SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE))
        return "what listens there does not speak TLS 1.3; is it linkspan-routerd?";
      return {};
    }
    if (const long verdict = SSL_get_verify_result(tls_.get()); verdict != X509_V_OK)
      return about_certificate(verdict);
    return judge_own();
  }

  std::string about_certificate(long verdict) const {
    const Certificate shown(SSL_get1_peer_certificate(tls_.get()));
    switch (verdict) {
      case X509_V_ERR_CERT_HAS_EXPIRED:
        return "its certificate, or one that leads to its authority, has expired (its own: " +
               when(X509_get0_notAfter(shown.get())) +
               "); the router's operator has to put a new one in place ([tls] certificate)";
      case X509_V_ERR_CERT_NOT_YET_VALID:
        return "its certificate is valid only from " + when(X509_get0_notBefore(shown.get())) +
               " on; is this machine's clock right?";
      case X509_V_ERR_HOSTNAME_MISMATCH:
      case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return "its certificate is for " + names_of(shown.get()) + ", not for " + address_.host +
               "; connect to one of its names, or have one made for this";
      default:
        return "its certificate was not signed by an authority that is trusted here (" +
               std::string(X509_verify_cert_error_string(verdict)) +
               "); name its authority: --router-ca FILE";
    }
  }

  // In TLS 1.3 what the other side thinks of our certificate comes after the handshake.
  std::string judge_own() {
    char byte = 0;
    if (drive([&] { return SSL_read(tls_.get(), &byte, 1); })) return {};
    if (!asked_ || error_ == SSL_ERROR_WANT_READ) return {};
    if (pems_.certificate.empty())
      return "it wants a certificate of the mount; give --router-cert FILE and --router-key FILE";
    return "it refused the mount's certificate; have one signed by the authority that the router "
           "knows ([tls] client_ca), and see with openssl x509 -enddate whether it has expired";
  }

  const Address& address_;
  const tls::Pems& pems_;
  const Steady until_;
  Socket socket_;
  const Context context_;
  Tls tls_;
  bool asked_ = false;  // for our certificate
  bool heard_ = false;
  unsigned char first_ = 0;  // byte of the other side
  int error_ = 0;
};

}  // namespace

std::string why_no_handshake(const Address& address, const tls::Pems& pems,
                             std::chrono::milliseconds most) {
  return Probe(address, pems, std::chrono::steady_clock::now() + most).run();
}

}  // namespace linkspan::client
