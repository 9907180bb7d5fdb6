#include "tests/unit/pg/cluster.h"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>

namespace linkspan::test {
namespace {

std::unique_ptr<PgCluster>& slot() {
  static std::unique_ptr<PgCluster> cluster;
  return cluster;
}

class StopCluster final : public ::testing::Environment {
 public:
  void TearDown() override { slot().reset(); }
};
const auto* const stop_cluster = ::testing::AddGlobalTestEnvironment(new StopCluster);

}  // namespace

PgCluster& cluster() {
  if (!slot()) slot() = std::make_unique<PgCluster>();
  return *slot();
}

std::string cluster_directory() {
  const std::string conninfo = cluster().conninfo("x");
  const size_t begin = conninfo.find("host=") + 5;
  return conninfo.substr(begin, conninfo.find(' ', begin) - begin);
}

std::string new_database() {
  static int count = 0;
  const std::string name = "test" + std::to_string(++count);
  cluster().create_database(name);
  return name;
}

Outside::Outside(const std::string& database)
    : conn_(PQconnectdb(cluster().conninfo(database).c_str())) {
  if (PQstatus(conn_) != CONNECTION_OK) throw std::runtime_error(PQerrorMessage(conn_));
}

std::string Outside::run(const std::string& sql) {
  const std::unique_ptr<PGresult, void (*)(PGresult*)> result(PQexec(conn_, sql.c_str()), PQclear);
  const ExecStatusType status = PQresultStatus(result.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
    throw std::runtime_error(PQerrorMessage(conn_));
  return PQntuples(result.get()) > 0 ? PQgetvalue(result.get(), 0, 0) : "";
}

}  // namespace linkspan::test
