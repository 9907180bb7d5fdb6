#include "routerd/rpc/certificates.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpcpp/security/server_credentials.h>

#include "routerd/rpc/log.h"

namespace linkspan::rpc {
namespace {

std::string joined(const std::vector<tls::Problem>& problems) {
  std::string all;
  for (const tls::Problem& problem : problems) all += (all.empty() ? "" : "; ") + problem.text;
  return all;
}

// gRPC asks for the certificate at each handshake, and keeps the last one that it could use. The
// C++ interface (1.51) has only a watcher of files that forgets the old pair when the new is
// broken.
class ReloadedCredentials final : public grpc::ServerCredentials {
 public:
  explicit ReloadedCredentials(const Certificates* certificates) : certificates_(certificates) {
    const auto request = certificates->wants_clients()
                             ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                             : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE;
    credentials_ = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(request, fetch, this));
  }
  ~ReloadedCredentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  static grpc_ssl_certificate_config_reload_status fetch(
      void* self, grpc_ssl_server_certificate_config** config) {
    auto* const port = static_cast<ReloadedCredentials*>(self);
    const auto now = port->certificates_->current();
    const std::lock_guard lock(port->mutex_);
    if (now == port->shown_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    const grpc_ssl_pem_key_cert_pair pair{now->key.c_str(), now->certificate.c_str()};
    // It insists on authorities (1.51) where nobody is asked for a certificate, too.
    const bool wanted = port->certificates_->wants_clients();
    const std::string& authorities = wanted ? now->authorities : now->certificate;
    *config = grpc_ssl_server_certificate_config_create(authorities.c_str(), &pair, 1);
    port->shown_ = now;
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  const Certificates* const certificates_;
  grpc_server_credentials* credentials_;
  std::mutex mutex_;  // before Certificates'
  std::shared_ptr<const tls::Pems> shown_;
};

}  // namespace

Result<std::unique_ptr<Certificates>> Certificates::open(tls::Files files,
                                                         std::chrono::milliseconds period) {
  auto pems = std::make_shared<tls::Pems>();
  if (const auto problems = tls::read(files, pems.get()); !problems.empty())
    return fail(Code::invalid, joined(problems));
  return std::unique_ptr<Certificates>(new Certificates(std::move(files), std::move(pems), period));
}

Certificates::Certificates(tls::Files files, std::shared_ptr<const tls::Pems> pems,
                           std::chrono::milliseconds period)
    : files_(std::move(files)),
      current_(std::move(pems)),
      thread_([this, period] { run(period); }) {}

Certificates::~Certificates() {
  {
    const std::lock_guard lock(mutex_);
    end_ = true;
  }
  ended_.notify_all();
  thread_.join();
}

std::shared_ptr<grpc::ServerCredentials> Certificates::credentials() {
  return handed_.emplace_back(std::make_shared<ReloadedCredentials>(this));
}

std::shared_ptr<const tls::Pems> Certificates::current() const {
  const std::lock_guard lock(mutex_);
  return current_;
}

void Certificates::run(std::chrono::milliseconds period) {
  std::unique_lock lock(mutex_);
  while (!ended_.wait_for(lock, period, [this] { return end_; })) {
    lock.unlock();
    look();
    lock.lock();
  }
}

// Contents are compared, not times: a file that was read while it was written is read again.
void Certificates::look() {
  auto found = std::make_shared<tls::Pems>();
  const auto problems = tls::read(files_, found.get());
  const bool same = *found == *current();
  const std::string said = problems.empty() ? "" : joined(problems);
  if (!said.empty() && said != said_)
    log_warning((same ? "the certificate in use cannot be used any longer: "
                      : "the changed certificate is not used, the one before serves on: ") +
                said);
  said_ = said;
  if (!problems.empty() || same) return;
  log_info("new certificate, until " + tls::expiry(found->certificate) + ": " + files_.certificate);
  const std::lock_guard lock(mutex_);
  current_ = std::move(found);
}

}  // namespace linkspan::rpc
