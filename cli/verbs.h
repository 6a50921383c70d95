// The verbs of `titan <verb> ...`. Each is one thin file in cli/: it reads its arguments, calls the library, prints.
#pragma once

#include <string>
#include <vector>

namespace titan::cli {

// What a verb gets: the arguments after its name. What it returns: the process's exit code.
using Arguments = std::vector<std::string>;

int run_bench(const Arguments& arguments);
int run_checkpoint(const Arguments& arguments);
int run_config(const Arguments& arguments);
int run_convert(const Arguments& arguments);
int run_launch(const Arguments& arguments);
int run_plan(const Arguments& arguments);
int run_tokenizer(const Arguments& arguments);
int run_trace(const Arguments& arguments);
int run_train(const Arguments& arguments);
int run_verify(const Arguments& arguments);

}  // namespace titan::cli
