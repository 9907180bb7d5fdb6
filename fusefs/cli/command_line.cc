#include "fusefs/cli/command_line.h"

#include <algorithm>

#include "fusefs/cli/command_options.h"
#include "fusefs/cli/console.h"
#include "fusefs/cli/usage_words.h"

namespace linkspan::cli {
namespace {

using Words = std::vector<std::string>;

// As they were typed: CLI11 keeps them in no particular order.
std::vector<std::string> unexpected(const CLI::App& command, const Words& words) {
  std::vector<std::string> left = command.remaining(), ordered;
  for (const auto& word : words)
    if (const auto found = std::find(left.begin(), left.end(), word); found != left.end()) {
      ordered.push_back(word);
      left.erase(found);
    }
  ordered.insert(ordered.end(), left.begin(), left.end());
  return ordered;
}

std::vector<std::string> names_of_options(const CLI::App& command) {
  std::vector<std::string> names;
  for (const auto* option : command.get_options())
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

std::vector<std::string> names_of_commands(const CLI::App& command) {
  std::vector<std::string> names;
  for (const auto* sub : command.get_subcommands([](const CLI::App*) { return true; }))
    if (!sub->get_group().empty()) names.push_back(sub->get_name());
  return names;
}

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

// What is wrong with the words that `command`, called `name`, has no use for; or what it lacks.
std::string wrong_words(const CLI::App& command, const std::string& name, const Words& words,
                        const std::string& otherwise) {
  const auto extras = unexpected(command, words);
  const auto commands = names_of_commands(command);
  const auto meant = [](const std::string& nearest) {
    return nearest.empty() ? std::string() : " (did you mean " + nearest + "?)";
  };
  if (extras.empty()) {
    if (commands.empty()) return otherwise;
    return "name a command: " + name + " " + joined(commands, "|");
  }
  const auto& first = extras.front();
  if (first.size() > 1 && first[0] == '-') {
    const auto option = first.substr(0, first.find('='));
    return name + " has no option " + option +
           meant(nearest_word(option, names_of_options(command)));
  }
  if (!commands.empty())
    return "there is no command " + name + " " + first + meant(nearest_word(first, commands));
  return name + " has no use for: " + joined(extras, " ");
}

int usage_error(const CLI::App& app, const CLI::ParseError& error, const Words& words) {
  std::string name = "linkspan";
  const auto* command = &app;
  while (command->remaining().empty() && !command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    name += " " + command->get_name();
  }
  const bool about_words =
      dynamic_cast<const CLI::ExtrasError*>(&error) || !names_of_commands(*command).empty();
  say((about_words ? wrong_words(*command, name, words, error.what()) : error.what()) +
      "; see: " + name + " --help");
  return kUsage;
}

// The command of `run` is everything from the first word on that is not its own, flags and all.
// Answers how many words are linkspan's.
size_t take_command(const CLI::App& app, const Words& words, RunOptions* run) {
  if (words.size() < 2 || words[1] != "run") return words.size();
  const auto* options = app.get_subcommand("run");
  const size_t own = command_begin(words, 2, [&](const std::string& name) {
    const auto* option = options->get_option_no_throw(name);
    return option && option->get_items_expected_max() > 0;
  });
  const size_t first = own + (own < words.size() && words[own] == "--" ? 1 : 0);
  run->command.assign(words.begin() + static_cast<std::ptrdiff_t>(first), words.end());
  return own;
}

}  // namespace

int run_command_line(int argc, char** argv) {
  CommandLine line;
  CLI::App app("Shared skills, memory and sessions for agents, as ordinary files.", "linkspan");
  app.set_version_flag("--version", "linkspan " LINKSPAN_VERSION);
  app.require_subcommand(1);
  app.footer(
      "`linkspan COMMAND --help` has the options and an example.\n"
      "Try: linkspan run --local -- bash");
  add_commands(app, line);

  const Words words(argv, argv + argc);
  const size_t own = take_command(app, words, &line.run);
  try {
    app.parse(static_cast<int>(own), argv);
  } catch (const CLI::ParseError& error) {
    // --help and --version end here too.
    if (error.get_exit_code() == 0) return app.exit(error);
    return usage_error(app, error, words);
  }
  if (app.got_subcommand("run") && line.run.command.empty()) {
    say("the CMD to run is missing, as in: linkspan run --local -- bash; see: linkspan run --help");
    return kUsage;
  }
  return line.chosen();
}

}  // namespace linkspan::cli
