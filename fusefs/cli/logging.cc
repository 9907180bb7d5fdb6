// Log lines; spdlog stays in this file.
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <unistd.h>

#include "fusefs/cli/mount_server.h"
#include "fusefs/cli/paths.h"

namespace linkspan::cli {

Status set_up_log(const LogOptions& log, bool to_stderr) {
  std::shared_ptr<spdlog::logger> logger;
  // spdlog would make the directory.
  if (const std::string dir = dir_name(log.file);
      !log.file.empty() && ::access(dir.c_str(), F_OK) != 0)
    return fail(Code::not_found,
                "log file " + log.file + ": " + dir + " does not exist: mkdir -p " + dir);
  try {
    if (!log.file.empty())
      logger = spdlog::basic_logger_mt("linkspan", log.file);
    else if (to_stderr)
      logger = spdlog::stderr_logger_mt("linkspan");
    else
      logger = spdlog::null_logger_mt("linkspan");
  } catch (const spdlog::spdlog_ex& error) {
    return fail(Code::io, "log file " + log.file + ": " + error.what());
  }
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  logger->set_level(spdlog::level::from_str(log.level));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
  return ok();
}

}  // namespace linkspan::cli
