// titan launch: starts the ranks of a job on this machine; each is this program again, as `titan train ...`
// or `titan bench ...`.
#include "titan/launch/launch.h"

#include <c10/util/Exception.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "cli/bench.h"
#include "cli/job.h"
#include "cli/verbs.h"

namespace titan::cli {
namespace {

int64_t read_integer(std::string_view text, const std::string& name, const char* expected) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  TORCH_CHECK_VALUE(error == std::errc() && end == text.data() + text.size(), name, ": expected ", expected, ", got '",
                    text, "'");
  return value;
}

// HOST:PORT, with an IPv6 address in brackets.
void read_endpoint(const std::string& text, launch::LaunchOptions& options) {
  const size_t colon = text.rfind(':');
  std::string host = text.substr(0, colon == std::string::npos ? 0 : colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string::npos) {
    host.clear();
  }
  TORCH_CHECK_VALUE(!host.empty(), "--rdzv-endpoint: expected HOST:PORT ([HOST]:PORT for IPv6), got '", text, "'");
  options.master_addr = host;
  options.master_port = read_integer(std::string_view(text).substr(colon + 1), "--rdzv-endpoint",
                                     "HOST:PORT with a port from 1 to 65535");
  TORCH_CHECK_VALUE(1 <= options.master_port && options.master_port <= 65535,
                    "--rdzv-endpoint: expected a port from 1 to 65535, got ", options.master_port);
}

// "0,2": these local ranks; "all" or nothing: every one.
void read_filter(const std::string& text, const std::string& name, launch::LaunchOptions& options) {
  options.shown_local_ranks.reset();
  if (text.empty() || text == "all") return;
  std::vector<int64_t> ranks, missing;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const int64_t rank = read_integer(std::string_view(text).substr(begin, end - begin), name,
                                      "local ranks separated by commas, or all");
    TORCH_CHECK_VALUE(rank >= 0, name, ": expected local ranks from 0 on, got ", rank);
    (rank < options.nproc_per_node ? ranks : missing).push_back(rank);
    begin = end + 1;
  }
  if (!missing.empty()) {
    std::fprintf(stderr, "titan launch: %s: this machine has local ranks 0 to %lld, so %s shows nothing\n",
                 name.c_str(), static_cast<long long>(options.nproc_per_node - 1),
                 fmt::format("{}", fmt::join(missing, ",")).c_str());
  }
  options.shown_local_ranks = std::move(ranks);
}

// What is wrong with the job is said once, before any rank starts.
void check_before_launch(const std::string& verb, const Arguments& arguments, int64_t world_size) {
  config::Problems problems;
  const bool benches = verb == "bench";
  config::Reading reading = benches ? read_bench(arguments, problems).job : config::read(arguments, problems);
  if (!reading.help) check_job(reading, world_size, problems);
}

}  // namespace

int run_launch(const Arguments& arguments) {
  const auto separator = std::find(arguments.begin(), arguments.end(), "--");
  launch::LaunchOptions options;
  std::string endpoint, filter;
  CLI::App app(
      "Start the ranks of a job on this machine, show their output, end them together.\n"
      "What to launch comes last: -- train [titan train's arguments], or -- bench [...]",
      "titan launch");
  const auto add = [&](const char* flags, auto& value, const char* help) {
    return app.add_option(flags, value, help)->take_last();
  };
  add("--nproc-per-node,--nproc_per_node", options.nproc_per_node, "ranks on this machine")->required();
  CLI::Option* const num_nodes = add("--nnodes", options.num_nodes, "machines, with one launcher each (1)");
  CLI::Option* const node_rank =
      add("--node-rank,--node_rank", options.node_rank, "which machine this is, from 0 on; needed if --nnodes > 1");
  CLI::Option* const rendezvous =
      add("--rdzv-endpoint,--rdzv_endpoint", endpoint,
          "HOST:PORT where rank 0 listens, on the machine with node rank 0; needed if --nnodes > 1. Without it, on "
          "one machine, a free port");
  CLI::Option* const shown =
      add("--local-ranks-filter,--local_ranks_filter", filter,
          "local ranks whose output is shown, separated by commas, or all (the variable LOG_RANK, or 0)");
  add("--log-dir,--log_dir", options.log_dir, "also keep each rank's output, in DIR/rank<k>/{stdout,stderr}.log")
      ->type_name("DIR");
  app.footer(
      "A rank that fails ends the job, with its exit code. SIGINT, SIGTERM and SIGUSR1 are passed on to the ranks.");

  try {
    app.parse(std::vector<std::string>(std::reverse_iterator(separator), arguments.rend()));  // from the end
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    TORCH_CHECK_VALUE(false, error.what(), "; `titan launch --help` says more");
  }
  TORCH_CHECK_VALUE(separator != arguments.end() && separator + 1 != arguments.end(),
                    "titan launch: what to launch is missing; end with: -- train [titan train's arguments]");
  const std::string& verb = *(separator + 1);
  TORCH_CHECK_VALUE(verb == "train" || verb == "bench", "titan launch: can launch train and bench, got '", verb, "'");
  TORCH_CHECK_VALUE(options.num_nodes <= 1 || node_rank->count() > 0, "--node-rank: needed with --nnodes ",
                    options.num_nodes, "; give 0 on the machine that --rdzv-endpoint names, 1 on the next, ...");
  TORCH_CHECK_VALUE(node_rank->count() == 0 || num_nodes->count() > 0 || options.node_rank == 0,
                    "--node-rank: ", options.node_rank, " needs --nnodes, the number of machines");
  if (rendezvous->count() > 0) read_endpoint(endpoint, options);
  const char* const log_rank = std::getenv("LOG_RANK");
  if (shown->count() > 0) {
    read_filter(filter, "--local-ranks-filter", options);
  } else if (log_rank != nullptr) {
    read_filter(log_rank, "LOG_RANK", options);
  }
  options.command = {launch::own_program()};
  options.command.insert(options.command.end(), separator + 1, arguments.end());
  launch::check(options);
  check_before_launch(verb, {separator + 2, arguments.end()}, options.nproc_per_node * options.num_nodes);
  return launch::launch_ranks(options);
}

}  // namespace titan::cli
