// titan <verb> ...: finds the verb and runs it. The one place where an exception ends: a user's mistake is one line
// on stderr, our own mistake shows its trace; both exit with 1.
#include <c10/util/Exception.h>

#include <cstdio>
#include <string_view>

#include "cli/verbs.h"

namespace {

struct Verb {
  std::string_view name;
  std::string_view summary;
  int (*run)(const titan::cli::Arguments&);  // null: not available yet
};

constexpr Verb kVerbs[] = {
    {"train", "train a model", titan::cli::run_train},
    {"launch", "start the ranks of a job on this machine", titan::cli::run_launch},
    {"verify", "run a job under several parallel layouts and compare, tensor by tensor", titan::cli::run_verify},
    {"bench", "measure speed, utilisation and memory of a configuration", titan::cli::run_bench},
    {"plan", "say what a run will need, without running it: of a pipeline schedule so far", titan::cli::run_plan},
    {"convert", "convert weights between PyTorch's DCP and Hugging Face's safetensors", titan::cli::run_convert},
    {"generate", "generate text from a checkpoint", nullptr},
    {"tokenizer", "encode, decode, train a tokenizer", titan::cli::run_tokenizer},
    {"data", "inspect and prepare datasets", nullptr},
    {"checkpoint", "list, show, verify, compare and remove checkpoints", titan::cli::run_checkpoint},
    {"trace", "explain flight-recorder dumps", titan::cli::run_trace},
    {"config", "print, check and document configurations", titan::cli::run_config},
};

void print_usage(std::FILE* out) {
  std::fputs("usage: titan <verb> [arguments]\n\n", out);
  for (const Verb& verb : kVerbs) {
    std::fprintf(out, "  %-11s %s%s\n", verb.name.data(), verb.summary.data(), verb.run ? "" : " (not available yet)");
  }
  std::fputs("\n`titan <verb> --help` says more.\n", out);
}

int run(const Verb& verb, const titan::cli::Arguments& arguments) {
  try {
    return verb.run(arguments);
  } catch (const c10::ValueError& error) {
    // Each line stands for itself: it starts with the key it is about.
    std::fprintf(stderr, "%s\n", error.what_without_backtrace());
  } catch (const c10::Error& error) {
    // Where it happened in our code matters only if it is our mistake.
    const bool ours = error.msg().find("INTERNAL ASSERT FAILED") != std::string::npos;
    std::fprintf(stderr, "titan %s: %s\n", verb.name.data(), ours ? error.what() : error.what_without_backtrace());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "titan %s: %s\n", verb.name.data(), error.what());
  }
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    print_usage(stderr);
    return 2;
  }
  const std::string_view name = argv[1];
  if (name == "--help" || name == "-h" || name == "help") {
    print_usage(stdout);
    return 0;
  }
  for (const Verb& verb : kVerbs) {
    if (verb.name != name) continue;
    if (verb.run == nullptr) {
      std::fprintf(stderr, "titan %s: not available yet\n", argv[1]);
      return 2;
    }
    return run(verb, titan::cli::Arguments(argv + 2, argv + argc));
  }
  std::fprintf(stderr, "titan: unknown verb '%s'; `titan --help` lists them\n", argv[1]);
  return 2;
}
