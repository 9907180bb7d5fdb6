// A private PostgreSQL cluster for a test program: a new directory, a unix socket in it and nothing
// else, stopped and removed at the end. As root it runs as user postgres.
#pragma once

#include <sys/types.h>

#include <string>

namespace linkspan::test {

struct PgOptions {
  // fsync and full_page_writes; without, it is faster and still survives crash() below.
  bool durable = false;
};

// Threads: make, start and stop it on the main thread (the server is told to stop when the thread
// that started it ends, so a killed test leaves nothing running). Throws std::runtime_error with
// the mend if there is no PostgreSQL or it will not start.
class PgCluster {
 public:
  explicit PgCluster(PgOptions options = {});
  ~PgCluster();
  PgCluster(const PgCluster&) = delete;
  PgCluster& operator=(const PgCluster&) = delete;

  void create_database(const std::string& name);
  std::string conninfo(const std::string& database) const;  // for libpq
  void start();
  void stop();
  // All of it at once, with no checkpoint; start() recovers from the log.
  void crash();

 private:
  std::string data() const { return directory_ + "/data"; }
  std::string program(const std::string& name) const { return bin_ + "/" + name; }
  void end(int signal);
  std::string log_tail() const;

  PgOptions options_;
  std::string bin_;
  std::string directory_;
  pid_t server_ = 0;  // 0: not running
};

}  // namespace linkspan::test
