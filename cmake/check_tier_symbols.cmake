# Fails when a tier's object file defines a weak symbol (an inline function that other files may share).
foreach(object ${OBJECTS})
  execute_process(COMMAND ${NM} -C --defined-only ${object} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[0-9a-f]+ [WVu] [^\n]*" weak "${symbols}")
  list(FILTER weak EXCLUDE REGEX "DW\\.ref\\.")  # pointers to run-time routines, which noexcept asks for: no code
  if(weak)
    message(FATAL_ERROR "${object} shares inline code with other tiers: ${weak}")
  endif()
endforeach()
