// A wire between a libpq client and a server's unix socket that can break at the worst moment.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace linkspan::test {

// Threads: make it on one thread; break_at() from any. Connections are served by threads of its
// own.
class PgProxy {
 public:
  enum class Break {
    nowhere,
    before_commit,  // the client's COMMIT never reaches the server
    after_commit,   // the server has committed; its answer never reaches the client
    silent,         // nothing is passed on any more, and nothing is closed
  };
  // `directory`: where the server's socket lies.
  explicit PgProxy(const std::string& directory);
  ~PgProxy();
  PgProxy(const PgProxy&) = delete;
  PgProxy& operator=(const PgProxy&) = delete;

  // The next COMMIT breaks its connection, once; `silent` at once and until changed.
  void break_at(Break what) { break_ = what; }
  std::string conninfo(const std::string& database) const;
  int connections() const { return connections_; }

 private:
  void accept_all();
  void serve(int client);
  bool pass_to_server(int client, int server);
  bool pass_to_client(int client, int server);

  const std::string server_path_;
  std::string directory_;
  int listener_ = -1;
  std::atomic<Break> break_{Break::nowhere};
  std::atomic<bool> stop_{false};
  std::atomic<int> connections_{0};
  std::thread accepting_;
  std::vector<std::thread> serving_;  // only by accepting_, then by the destructor
};

}  // namespace linkspan::test
