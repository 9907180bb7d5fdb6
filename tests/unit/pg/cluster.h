// The cluster that the tests of this folder share, with a fresh database for each test, and
// statements from outside of the store.
#pragma once

#include <libpq-fe.h>

#include <string>

#include "tests/support/pg_cluster.h"

namespace linkspan::test {

// Started at its first use, stopped at the end of the program.
PgCluster& cluster();
// Its socket's directory.
std::string cluster_directory();
// A new database; its name.
std::string new_database();

// A plain connection, for looking and for disturbing.
class Outside {
 public:
  explicit Outside(const std::string& database);
  ~Outside() { PQfinish(conn_); }
  Outside(const Outside&) = delete;
  Outside& operator=(const Outside&) = delete;
  // The first value of the answer; throws on an error.
  std::string run(const std::string& sql);

 private:
  PGconn* conn_;
};

}  // namespace linkspan::test
