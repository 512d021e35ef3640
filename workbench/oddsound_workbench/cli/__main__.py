from oddsound_workbench.cli import main

main()
